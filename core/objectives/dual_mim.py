"""Dual masked image modelling: rings of the spectrum are stopped, blocks of patches hidden, one decoder restores both.

    x~ = band-stop(x); standardize x~ and x by x's own mean and deviation; hide blocks of x~ (0, the image's mean)
    y  = decoder(encoder(x~));  loss = L1(y - x) on hidden pixels + weight * frequency loss(y - x)

That there is one corrupted image, one encoder, one decoder and two losses on one reconstruction is certain from the
authors' figure; filtering before hiding, the losses' exact form and all values are inferred (SimMIM, A2MIM). Our
variant `tokens: visible` encodes only the patches that are not hidden. Everything is per image, so that one image's
loss never depends on another's.

Shape legend: B batch, S image side, F = S // 2 + 1, N patches, V visible and M masked patches.

Jiao et al., "USFM: A universal ultrasound foundation model generalized to tasks and organs towards label efficient
image analysis", Medical Image Analysis 96:103202, 2024, arXiv:2401.00153.
Xie et al., "SimMIM: A Simple Framework for Masked Image Modeling", CVPR 2022, arXiv:2111.09886.
Li et al., "Architecture-Agnostic Masked Image Modeling - From ViT back to CNN", ICML 2023, arXiv:2205.13943 (A2MIM).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from core.data.augmentation import DEVIATION_FLOOR
from core.errors import ConfigError, DataError
from core.models.decoder import PixelDecoder, build_decoder
from core.models.encoder import Encoder
from core.objectives.frequency import band_stop, ring_bank, ring_masks, ring_radii
from core.objectives.losses import at_least_float32, focal_frequency, l1_frequency, masked_l1
from core.objectives.masking import Corruption, block_of_patch, draw_corruption, masked_count

_WORDS = {
    "corruption": ("both", "spatial", "frequency"),
    "tokens": ("all", "visible"),
    "frequency_loss": ("focal", "l1", "none"),
    "spatial_loss_on": ("masked", "all"),
}


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What is corrupted and what is restored; ring lengths are fractions of the image side."""

    corruption: str = "both"
    """both; spatial (no ring stopped, no frequency loss); frequency (no patch hidden, spatial loss on all pixels)."""
    tokens: str = "visible"
    """all: the encoder sees the image, hidden blocks filled by its mean; visible: it sees the other patches only."""
    mask_ratio: float = 0.6
    """Share of patches hidden, in (0, 1); 0.6 in SimMIM and A2MIM."""
    mask_block_patches: int = 2
    """Patches, a side of a hidden block; 2 (32 pixels at patch 16) in SimMIM."""
    ring_ratio: float = 0.3
    """Share of rings stopped, in (0, 1], at least one ring; USFM's is unpublished."""
    ring_centre: float = 10 / 224
    """Radius that always passes, in (0, 0.5); USFM's is unpublished."""
    ring_growth: float = 1.5
    """Factor from one ring's border to the next, above 1; USFM's is unpublished."""
    ring_max_step: float = 20 / 224
    """Widest ring, above 0; USFM's is unpublished."""
    bank_size: int = 64
    """Number of precomputed masks of rings, at most."""
    spatial_loss_on: str = "masked"
    """masked (SimMIM) or all pixels; all also supervises the stopped rings of visible patches."""
    frequency_loss: str = "focal"
    """focal (Jiang et al. 2021), l1 (modulus of the complex difference) or none."""
    frequency_weight: float = 0.1
    """Factor of the frequency loss, 0 or more; 0.1 in A2MIM for ViT-B."""
    decoder_width: int = 128
    """Channels of the visible-only decoder, a multiple of 4 and of `decoder_heads`."""
    decoder_depth: int = 2
    """Blocks of the visible-only decoder, 1 or 2."""
    decoder_heads: int = 4
    """Attention heads of the visible-only decoder."""

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            ConfigError: listing all fields out of range.
        """
        problems = [
            f"objective.{name} is {getattr(self, name)!r}; choose one of {', '.join(words)}"
            for name, words in _WORDS.items()
            if getattr(self, name) not in words
        ]
        ranges = {
            "mask_ratio": (0.0 < self.mask_ratio < 1.0, "in (0, 1)"),
            "mask_block_patches": (self.mask_block_patches >= 1, "1 or more"),
            "ring_ratio": (0.0 < self.ring_ratio <= 1.0, "in (0, 1]"),
            "ring_centre": (0.0 < self.ring_centre < 0.5, "in (0, 0.5)"),
            "ring_growth": (self.ring_growth >= 1.01, "1.01 or more"),
            "ring_max_step": (self.ring_max_step >= 1e-3, "0.001 or more"),
            "bank_size": (self.bank_size >= 1, "1 or more"),
            "frequency_weight": (0.0 <= self.frequency_weight < float("inf"), "0 or more and finite"),
            "decoder_depth": (self.decoder_depth in (1, 2), "1 or 2"),
            "decoder_heads": (self.decoder_heads >= 1, "1 or more"),
            "decoder_width": (self.decoder_width >= 4 and self.decoder_width % 4 == 0, "a positive multiple of 4"),
        }
        problems += [
            f"objective.{name} is {getattr(self, name)}; it must be {want}"
            for name, (ok, want) in ranges.items()
            if not ok
        ]
        if self.decoder_heads >= 1 and self.decoder_width % self.decoder_heads:
            problems.append(
                f"objective.decoder_width {self.decoder_width} is no multiple of objective.decoder_heads "
                f"{self.decoder_heads}"
            )
        if problems:
            raise ConfigError(problems)


class LossParts(NamedTuple):
    """One value an image each, float32, or float64 from a float64 model and images."""

    total_B: Tensor
    """spatial + weight * frequency."""
    spatial_B: Tensor
    """L1 in units of the image's standard deviation."""
    frequency_B: Tensor
    """The frequency loss before its weight; zeros when there is none."""


class Reconstruction(NamedTuple):
    """What a figure shows; images are (B, S, S) float32 in grey levels, a little beyond [0, 1] where filtered."""

    original: Tensor
    corrupted: Tensor
    """Filtered, with hidden blocks at the original's mean."""
    filtered: Tensor
    reconstructed: Tensor
    mask_BSS: Tensor
    """Bool, the hidden pixels."""
    stopped_BSF: Tensor
    """Bool, the stopped frequencies on the half spectrum (`torch.fft.rfft2`'s layout)."""


class _Pass(NamedTuple):
    """All that one pass makes; images standardized by the original's mean and deviation, (B, S, S)."""

    target: Tensor
    filtered: Tensor
    predicted: Tensor
    mask_BSS: Tensor | None
    mean_B11: Tensor
    scale_B11: Tensor
    draw: Corruption


class DualMIM(nn.Module):
    """The encoder with its pretraining task.

    Args:
        encoder: Trained in place; what pretraining is for.
        config: The task.
        seed: Public seed of the decoder's weights.

    Raises:
        ConfigError: no patch would stay visible, or the rings hold no frequency at this image side.
    """

    passed_KSF: Tensor

    def __init__(self, encoder: Encoder, config: ObjectiveConfig, *, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        shape = encoder.config
        self.decoder = build_decoder(
            shape.width_,
            tokens=config.tokens,
            decoder_width=config.decoder_width,
            depth=config.decoder_depth,
            heads=config.decoder_heads,
            grid=shape.grid,
            patch=shape.patch,
            seed=seed,
        )
        self._blocks_N = block_of_patch(grid=shape.grid, block=config.mask_block_patches)
        self._masked = 0
        if config.corruption != "frequency":
            self._masked = masked_count(grid=shape.grid, block=config.mask_block_patches, ratio=config.mask_ratio)
        if self._masked >= shape.grid**2:
            raise ConfigError(
                f"objective.mask_ratio {config.mask_ratio} in blocks of {config.mask_block_patches} patches hides all "
                f"of {shape.grid} x {shape.grid} patches; lower either, or make encoder.patch smaller"
            )
        self.register_buffer("passed_KSF", _passed_bank(config, side=shape.side), persistent=False)

    def forward(self, images_B1HW: Tensor, *, seeds_B: Tensor) -> LossParts:
        """The loss of each image; take the mean over B.

        Args:
            images_B1HW: One channel in [0, 1], of the encoder's side, on the module's device.
            seeds_B: int64 on the CPU; an image's seed alone decides what is hidden of it.

        Raises:
            DataError: the images have another shape, or there are not as many seeds.
        """
        made = self._run(images_B1HW, seeds_B)
        with torch.autocast(images_B1HW.device.type, enabled=False):
            difference_BSS = made.predicted - made.target
            on_masked = self.config.spatial_loss_on == "masked"
            spatial_B = masked_l1(difference_BSS, made.mask_BSS if on_masked else None)
            if self.config.corruption == "spatial" or self.config.frequency_loss == "none":
                return LossParts(spatial_B, spatial_B, torch.zeros_like(spatial_B))
            measure = focal_frequency if self.config.frequency_loss == "focal" else l1_frequency
            frequency_B = measure(difference_BSS)
            return LossParts(spatial_B + self.config.frequency_weight * frequency_B, spatial_B, frequency_B)

    @torch.no_grad()
    def reconstruct(self, images_B1HW: Tensor, *, seeds_B: Tensor) -> Reconstruction:
        """The images of each step, for figures; arguments as in `forward`."""
        made = self._run(images_B1HW, seeds_B)
        mask_BSS = torch.zeros_like(made.target, dtype=torch.bool) if made.mask_BSS is None else made.mask_BSS

        def grey(x_BSS: Tensor) -> Tensor:
            return x_BSS * made.scale_B11 + made.mean_B11

        return Reconstruction(
            original=at_least_float32(images_B1HW[:, 0]),
            corrupted=grey(made.filtered.masked_fill(mask_BSS, 0.0)),
            filtered=grey(made.filtered),
            reconstructed=grey(made.predicted),
            mask_BSS=mask_BSS,
            stopped_BSF=self.passed_KSF[made.draw.mask_B.to(self.passed_KSF.device)] == 0,
        )

    def _run(self, images_B1HW: Tensor, seeds_B: Tensor) -> _Pass:
        side = self.encoder.config.side
        if images_B1HW.shape[1:] != (1, side, side) or seeds_B.shape != images_B1HW.shape[:1]:
            raise DataError(
                f"dual MIM takes images (B, 1, {side}, {side}) and B seeds, got {tuple(images_B1HW.shape)} and "
                f"{tuple(seeds_B.shape)}"
            )
        draw = draw_corruption(seeds_B, blocks_N=self._blocks_N, bank=len(self.passed_KSF))
        device = images_B1HW.device
        order_BN = draw.order_BN.to(device, non_blocking=True)
        with torch.autocast(device.type, enabled=False), torch.no_grad():
            image_BSS = at_least_float32(images_B1HW[:, 0])
            mean_B11 = image_BSS.mean(dim=(1, 2), keepdim=True)
            scale_B11 = image_BSS.std(dim=(1, 2), keepdim=True, correction=0) + DEVIATION_FLOOR
            target_BSS = (image_BSS - mean_B11) / scale_B11
            filtered_BSS = target_BSS
            if self.config.corruption != "spatial":
                passed_BSF = self.passed_KSF[draw.mask_B.to(device, non_blocking=True)]
                filtered_BSS = (band_stop(image_BSS, passed_BSF=passed_BSF) - mean_B11) / scale_B11
            mask_BSS = self._pixel_mask(order_BN)
        predicted_BSS = at_least_float32(self._predict(filtered_BSS, mask_BSS, order_BN)[:, 0])
        return _Pass(target_BSS, filtered_BSS, predicted_BSS, mask_BSS, mean_B11, scale_B11, draw)

    def _predict(self, filtered_BSS: Tensor, mask_BSS: Tensor | None, order_BN: Tensor) -> Tensor:
        if isinstance(self.decoder, PixelDecoder):
            # The image's mean is 0 after standardizing.
            filled_BSS = filtered_BSS if mask_BSS is None else filtered_BSS.masked_fill(mask_BSS, 0.0)
            tokens_BTD = self.encoder(filled_BSS[:, None])
            image_B1SS: Tensor = self.decoder(tokens_BTD[:, 1:])
            return image_B1SS
        visible_BV = order_BN[:, : order_BN.shape[1] - self._masked]
        tokens_BTD = self.encoder(filtered_BSS[:, None], visible_BV)
        restored_B1SS: Tensor = self.decoder(tokens_BTD[:, 1:], order_BN)
        return restored_B1SS

    def _pixel_mask(self, order_BN: Tensor) -> Tensor | None:
        """The hidden pixels, bool (B, S, S), or None when no patch is hidden."""
        if self._masked == 0:
            return None
        grid, patch = self.encoder.config.grid, self.encoder.config.patch
        hidden_BN = torch.zeros_like(order_BN, dtype=torch.bool).scatter_(1, order_BN[:, -self._masked :], value=True)
        hidden_BGG = hidden_BN.reshape(-1, grid, grid)
        return hidden_BGG.repeat_interleave(patch, dim=1).repeat_interleave(patch, dim=2)


def _passed_bank(config: ObjectiveConfig, *, side: int) -> Tensor:
    """The bank as float factors (K, S, F), 1 where a frequency passes; one all-pass mask when no ring is stopped."""
    if config.corruption == "spatial":
        return torch.ones(1, side, side // 2 + 1)
    radii = ring_radii(centre=config.ring_centre, growth=config.ring_growth, max_step=config.ring_max_step)
    rings_RSF = ring_masks(side=side, radii=radii)
    if len(rings_RSF) == 0:
        raise ConfigError(
            f"no frequency of a {side} pixel image lies between objective.ring_centre {config.ring_centre} and half "
            "the side; lower ring_centre, or take a larger encoder.side"
        )
    return (~ring_bank(rings_RSF, ratio=config.ring_ratio, size=config.bank_size)).float()
