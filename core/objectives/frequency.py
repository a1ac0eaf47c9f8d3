"""Band-stop filtering: some concentric rings of an image's spectrum are removed, the centre never.

The rings are nested discs' differences whose radii grow by a factor until the step reaches a cap, as in the generator
left over in USFM's code; the values there are unpublished. Ours are its worked example at 224 pixels (radii 10, 15, 22,
33, 49, 69, 89, 109), as fractions of the image side, so that every side has the same seven rings. Differences: real
radii (whole ones stop growing at small sides), no empty ring, one mask for one channel on the half spectrum, and the
real inverse transform in place of an absolute value, which would fold negative values.

Shape legend: B batch, S image side, F = S // 2 + 1 columns of the half spectrum, R rings, K masks of the bank.

Jiao et al., "USFM: A universal ultrasound foundation model generalized to tasks and organs towards label efficient
image analysis", Medical Image Analysis 96:103202, 2024, arXiv:2401.00153.
"""

import itertools
import math

import numpy as np
import torch
from torch import Tensor

_BANK_KEY = 0x62616E6B
"""Fixed, so that the bank follows from the configuration alone and is the same at every hospital."""


def ring_radii(*, centre: float, growth: float, max_step: float) -> tuple[float, ...]:
    """The rings' borders as fractions of the image side, the first one the protected centre's radius.

    Args:
        centre: Radius that always passes, in (0, 0.5).
        growth: Factor from one border to the next, above 1.
        max_step: Largest distance between two borders, above 0.

    Returns:
        Increasing radii up to half the side: spectrum corners beyond the last always pass.
    """
    radii = [centre]
    while (following := min(radii[-1] * growth, radii[-1] + max_step)) <= 0.5:
        radii.append(following)
    return tuple(radii)


def ring_masks(*, side: int, radii: tuple[float, ...]) -> Tensor:
    """The disjoint rings on the half spectrum, from the inside out; those that hold no frequency are left out.

    Returns:
        Bool (R, S, F): ring i holds the frequencies with radii[i] < |f| / S <= radii[i + 1].
    """
    down = torch.fft.fftfreq(side, dtype=torch.float64)
    across = torch.fft.rfftfreq(side, dtype=torch.float64)
    radius_SF = (down[:, None] ** 2 + across[None, :] ** 2).sqrt()
    rings = [(radius_SF > inner) & (radius_SF <= outer) for inner, outer in itertools.pairwise(radii)]
    held = [ring for ring in rings if ring.any()]
    return torch.stack(held) if held else torch.zeros(0, side, side // 2 + 1, dtype=torch.bool)


def ring_bank(rings_RSF: Tensor, *, ratio: float, size: int) -> Tensor:
    """Which frequencies each mask of the bank stops.

    Each mask stops `int(ratio * R)` rings, at least one. Where there are no more than `size` choices the bank holds
    them all; else it holds `size` distinct ones, the same in every process.

    Args:
        rings_RSF: The rings, at least one.
        ratio: Share of the rings to stop, in (0, 1].
        size: Largest number of masks.

    Returns:
        Bool (K, S, F), K at most `size`.
    """
    rings = len(rings_RSF)
    stopped = max(1, math.floor(ratio * rings + 1e-9))
    choices: list[tuple[int, ...]]
    if math.comb(rings, stopped) <= size:
        choices = list(itertools.combinations(range(rings), stopped))
    else:
        generator = np.random.Generator(np.random.Philox(key=_BANK_KEY))
        drawn: dict[tuple[int, ...], None] = {}
        while len(drawn) < size:
            drawn[tuple(sorted(generator.permutation(rings)[:stopped].tolist()))] = None
        choices = list(drawn)
    return torch.stack([rings_RSF[list(choice)].any(dim=0) for choice in choices])


def band_stop(images_BSS: Tensor, *, passed_BSF: Tensor) -> Tensor:
    """Removes frequencies.

    Args:
        images_BSS: Float32 images of one channel.
        passed_BSF: Float factors on the half spectrum, 0 stops and 1 passes; equal for a frequency and its negative.

    Returns:
        The real images (B, S, S).
    """
    spectrum_BSF = torch.fft.rfft2(images_BSS)
    filtered_BSS: Tensor = torch.fft.irfft2(spectrum_BSF * passed_BSF, s=images_BSS.shape[-2:])
    return filtered_BSS
