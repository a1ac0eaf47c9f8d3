"""Random crop, flip and brightness for a batch, on whatever device holds it.

What happens to an image follows from its own seed alone, so it does not matter in which order images come, nor how a
batch is divided between processes or hospitals. The crop is Inception's (random area and aspect ratio); where a drawn
side would exceed the image it is cut to the image, in place of drawing again.

C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, arXiv:1409.4842 (the crop).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from core.errors import ConfigError
from core.seeding import counter_uniform

# B batch, H height and W width of the source, S side of the result, U random numbers of one image.

_NUMBERS = 7  # U: area, aspect, two positions, flip, gain, gamma

DEVIATION_FLOOR = 1e-3
"""Added to an image's standard deviation, in grey levels of [0, 1], so that a flat image stays finite."""


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How much images are changed in training. The ranges are small: speckle and depth carry meaning."""

    enabled: bool = True
    """False: images are only resized, as for evaluation."""
    crop_scale_min: float = 0.67
    """Least area of the crop, as a share of the image; above 0, to 1."""
    crop_scale_max: float = 1.0
    """Largest area of the crop, as a share of the image; `crop_scale_min` to 1."""
    aspect_max: float = 1.33
    """Largest aspect ratio of the crop; it is drawn log-uniformly from 1 / `aspect_max` to `aspect_max`. At least 1."""
    flip: float = 0.5
    """Probability of mirroring left to right; 0 to 1."""
    gain: float = 0.1
    """Brightness factor is drawn from 1 - `gain` to 1 + `gain`; 0 to less than 1."""
    gamma: float = 0.2
    """Exponent of the grey values is drawn log-uniformly from exp(-`gamma`) to exp(`gamma`); 0 to 2."""

    def __post_init__(self) -> None:
        """Raise a ConfigError that lists every field out of its range."""
        allowed = {
            "crop_scale_min, crop_scale_max": 0 < self.crop_scale_min <= self.crop_scale_max <= 1,
            "aspect_max": 1 <= self.aspect_max <= 10,
            "flip": 0 <= self.flip <= 1,
            "gain": 0 <= self.gain < 1,
            "gamma": 0 <= self.gamma <= 2,
        }
        ranges = {
            "crop_scale_min, crop_scale_max": "must satisfy 0 < min <= max <= 1",
            "aspect_max": "must be 1 to 10",
            "flip": "must be 0 to 1",
            "gain": "must be at least 0 and less than 1",
            "gamma": "must be 0 to 2",
        }
        problems = []
        for names in (names for names, good in allowed.items() if not good):
            values = ", ".join(str(getattr(self, name)) for name in names.split(", "))
            problems.append(f"augmentation.{names} = {values}: {ranges[names]}")
        if problems:
            raise ConfigError(problems)


def to_float(images_BHW: Tensor, *, side: int) -> Tensor:
    """Resize without augmentation, with antialiasing.

    Args:
        images_BHW: uint8 of 0 to 255, or floating point of 0 to 1.
        side: Side of the result in pixels.

    Returns:
        float32 (B, 1, side, side) in [0, 1], on the same device.
    """
    images_B1HW = _unit(images_BHW)
    return images_B1HW if images_B1HW.shape[2:] == (side, side) else _resize(images_B1HW, side, side)


def augment(images_BHW: Tensor, *, seeds_B: Tensor, side: int, settings: AugmentationConfig) -> Tensor:
    """Crop, flip and brighten each image as its seed says.

    Args:
        images_BHW: uint8 of 0 to 255, or floating point of 0 to 1, on any device.
        seeds_B: int64 on the CPU, one an image.
        side: Side of the result in pixels.
        settings: Ranges to draw from.

    Returns:
        float32 (B, 1, side, side) in [0, 1], on the device of the images.
    """
    if not settings.enabled:
        return to_float(images_BHW, side=side)
    uniform_BU = counter_uniform(seeds_B, _NUMBERS).to(images_BHW.device)
    images_B1HW = _shrink(_unit(images_BHW), side, settings)
    grid_BSS2 = _grid(uniform_BU, side, settings)
    cropped_B1SS = functional.grid_sample(images_B1HW, grid_BSS2, padding_mode="border", align_corners=False)
    gain_B111 = 1 + settings.gain * (2 * uniform_BU[:, 5] - 1)[:, None, None, None]
    gamma_B111 = torch.exp(settings.gamma * (2 * uniform_BU[:, 6] - 1))[:, None, None, None]
    return (cropped_B1SS.clamp(0, 1) ** gamma_B111 * gain_B111).clamp(0, 1)


def to_mask(masks_BHW: Tensor, *, side: int) -> Tensor:
    """Resize masks by taking the nearest pixel, so that 0 and 1 stay 0 and 1.

    Args:
        masks_BHW: 0 and 1, of any type.
        side: Side of the result in pixels.

    Returns:
        float32 (B, 1, side, side) of 0 and 1, on the same device.
    """
    masks_B1HW = masks_BHW.to(torch.float32)[:, None]
    return functional.interpolate(masks_B1HW, (side, side), mode="nearest-exact")


def augment_mask(masks_BHW: Tensor, *, seeds_B: Tensor, side: int, settings: AugmentationConfig) -> Tensor:
    """Crop and flip each mask exactly as `augment` does the image of the same seed; the nearest pixel is taken.

    Args:
        masks_BHW: 0 and 1, of any type and size, on any device.
        seeds_B: int64 on the CPU, those of the images.
        side: Side of the result in pixels.
        settings: Those of the images.

    Returns:
        float32 (B, 1, side, side) of 0 and 1, on the device of the masks.
    """
    if not settings.enabled:
        return to_mask(masks_BHW, side=side)
    grid_BSS2 = _grid(counter_uniform(seeds_B, _NUMBERS).to(masks_BHW.device), side, settings)
    masks_B1HW = masks_BHW.to(torch.float32)[:, None]
    return functional.grid_sample(
        masks_B1HW, grid_BSS2, mode="nearest", padding_mode="border", align_corners=False
    )


def standardize(images_B1SS: Tensor) -> Tensor:
    """Mean 0 and deviation 1, image by image: how the encoder meets images in pretraining (`DualMIM`)."""
    mean_B111, scale_B111 = units_of(images_B1SS)
    return (images_B1SS - mean_B111) / scale_B111


def units_of(images_B1SS: Tensor) -> tuple[Tensor, Tensor]:
    """The grey level that `standardize` makes 0 of each image, and the difference that it makes 1; (B, 1, 1, 1) each."""
    mean_B111 = images_B1SS.mean(dim=(1, 2, 3), keepdim=True)
    return mean_B111, images_B1SS.std(dim=(1, 2, 3), keepdim=True, correction=0) + DEVIATION_FLOOR


def _unit(images_BHW: Tensor) -> Tensor:
    images_B1HW = images_BHW.to(torch.float32)[:, None]
    return images_B1HW if images_BHW.dtype.is_floating_point else images_B1HW / 255


def _resize(images_B1HW: Tensor, height: int, width: int) -> Tensor:
    resized = functional.interpolate(images_B1HW, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return resized.clamp(0, 1)


def _shrink(images_B1HW: Tensor, side: int, settings: AugmentationConfig) -> Tensor:
    """Bring a large image down to what the smallest crop needs, since bilinear sampling alone would alias."""
    needed = math.ceil(side / math.sqrt(settings.crop_scale_min))
    height, width = images_B1HW.shape[2:]
    if max(height, width) <= needed:
        return images_B1HW
    return _resize(images_B1HW, min(height, needed), min(width, needed))


def _grid(uniform_BU: Tensor, side: int, settings: AugmentationConfig) -> Tensor:
    """Where each pixel of the result lies in its image, in grid_sample's coordinates of -1 to 1: (B, S, S, 2)."""
    area_B, aspect_B, left_B, top_B, flip_B = uniform_BU.unbind(1)[:5]
    scale_B = settings.crop_scale_min + (settings.crop_scale_max - settings.crop_scale_min) * area_B
    ratio_B = torch.exp(math.log(settings.aspect_max) * (2 * aspect_B - 1))
    width_B = (scale_B * ratio_B).sqrt().clamp(max=1)
    height_B = (scale_B / ratio_B).sqrt().clamp(max=1)
    centre_x_B = (1 - width_B) * (2 * left_B - 1)
    centre_y_B = (1 - height_B) * (2 * top_B - 1)
    sign_B = torch.where(flip_B < settings.flip, -1.0, 1.0)
    axis_S = (2 * torch.arange(side, device=uniform_BU.device) + 1) / side - 1
    x_BS = centre_x_B[:, None] + (sign_B * width_B)[:, None] * axis_S
    y_BS = centre_y_B[:, None] + height_B[:, None] * axis_S
    return torch.stack([x_BS[:, None].expand(-1, side, -1), y_BS[:, :, None].expand(-1, -1, side)], dim=-1)
