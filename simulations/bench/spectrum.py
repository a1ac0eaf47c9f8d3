"""The row on the band-stop filter: against the usual form, three channels and the mask made anew at each call."""

import math

import torch
from torch import Tensor

from core.objectives.frequency import band_stop, ring_bank, ring_masks, ring_radii
from simulations.bench.rows import Row, Settings, in_turn

CENTRE, GROWTH, STEP = 10 / 224, 1.5, 20 / 224
"""The objective's own rings, as fractions of the side."""


def filtering(settings: Settings) -> Row:
    """One batch of 224 pixels filtered."""
    side, batch = (32, 2) if settings.small else (224, 16)
    generator = torch.Generator().manual_seed(0)
    grey_BSS = torch.rand(batch, side, side, generator=generator)
    colour_B3SS = grey_BSS[:, None].repeat(1, 3, 1, 1)
    rings_RSF = ring_masks(side=side, radii=ring_radii(centre=CENTRE, growth=GROWTH, max_step=STEP))
    passed_KSF = (~ring_bank(rings_RSF, ratio=0.3, size=64)).float()
    choice_B = torch.randint(len(passed_KSF), (batch,), generator=generator)
    row = Row(
        name="band-stop",
        baseline_name="torch fft2, 3 channels, mask made at each call",
        ours_name="rfft2, 1 channel, mask from the bank",
        goal=6.0,
        sizes=f"{batch} images of {side} px",
        threads=settings.threads,
    )
    return in_turn(
        row,
        baseline=lambda: usual(colour_B3SS, generator),
        ours=lambda: band_stop(grey_BSS, passed_BSF=passed_KSF[choice_B]),
        seconds=settings.seconds,
    )


def usual(images_BCSS: Tensor, generator: torch.Generator) -> Tensor:
    """Full transform, shift, a fresh mask of two of the seven rings for each image, and all of it back."""
    side = images_BCSS.shape[-1]
    borders = [side * radius for radius in ring_radii(centre=CENTRE, growth=GROWTH, max_step=STEP)]
    line_S = torch.arange(side) - side // 2
    masks = []
    for _ in range(len(images_BCSS)):
        radius_SS = (line_S[:, None] ** 2 + line_S[None, :] ** 2).float().sqrt()
        passed_SS = torch.ones(side, side)
        for ring in torch.randperm(len(borders) - 1, generator=generator)[: math.floor(0.3 * (len(borders) - 1))]:
            passed_SS[(radius_SS > borders[ring]) & (radius_SS <= borders[ring + 1])] = 0.0
        masks.append(passed_SS)
    spectrum_BCSS = torch.fft.fftshift(torch.fft.fft2(images_BCSS), dim=(-2, -1)) * torch.stack(masks)[:, None]
    images: Tensor = torch.fft.ifft2(torch.fft.ifftshift(spectrum_BCSS, dim=(-2, -1))).real
    return images
