"""Ultrasound images made worse on purpose, as the input from which enhancement learns to restore them.

In this order: blur by a point-spread function, speckle, an error of the time-gain compensation, fewer pixels. Rows are
depth. What happens to an image follows from its own seed alone, so neither order nor batch matters.

The first three act on the echo's amplitude, not on grey levels. A grey level g in [0, 1] is taken as log-compressed,

    g = log(1 + M A) / log(1 + M),   M = 10^(range / 20) - 1,   A in [0, 1],

which is linear in decibels where an echo is strong, and keeps "no echo" (g = 0, outside the sector too) at no echo
whatever the gain. A scanner's own curve is not known, so this is a model, and so are the others:

* Speckle multiplies A by n^s, with n Rayleigh-distributed and of mean square 1 (fully developed speckle), grains as
  wide as the point spread, and s the strength. In decibels n has mean -2.5 and deviation 5.57.
* The point spread is a Gaussian, wider across the beam than along it, of amplitudes: phases are lost in such an image.
* The gain error is a sum of three cosines of depth with random weights, in decibels, the largest of the strength.

J. W. Goodman, "Some fundamental properties of speckle", JOSA 66(11):1145-1150, 1976, doi:10.1364/JOSA.66.001145.
R. F. Wagner et al., "Statistics of speckle in ultrasound B-scans", IEEE Transactions on Sonics and Ultrasonics
30(3):156-163, 1983, doi:10.1109/T-SU.1983.31404 (Rayleigh amplitudes; grains as wide as the point spread).
V. Dutt, J. F. Greenleaf, "Adaptive speckle reduction filter for log-compressed B-scan images", IEEE Transactions on
Medical Imaging 15(6):802-813, 1996, doi:10.1109/42.544498 (log compression of speckle).
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from core.errors import ConfigError
from core.seeding import counter_uniform

# B batch, S side, U random numbers of one image, K cosines

_STREAM = 0x646567726164  # told apart from the numbers that augmentation draws from the same seed
_PARTS = 5  # U begins with one number a strength: axial and lateral blur, speckle, gain, pixels
_COSINES = 3  # then the weights of the gain error, then two numbers a pixel for speckle


@dataclass(frozen=True, kw_only=True)
class DegradationConfig:
    """How much worse images are made; a strength of 0 switches its part off."""

    blur_axial: float = 0.006
    """Deviation of the point spread along depth, as a share of the image's side; 0 to 0.1."""
    blur_lateral: float = 0.015
    """Deviation of the point spread across depth, as a share of the image's side; 0 to 0.1."""
    speckle: float = 0.5
    """Exponent of the Rayleigh-distributed factor; 0 to 1, 1 being fully developed speckle."""
    gain_drift: float = 6.0
    """Largest error of the time-gain compensation in decibels; 0 to 30."""
    downsample: float = 0.5
    """Share of the pixels of each side that is lost, the image being enlarged again; 0 to 0.9."""
    spread: float = 0.5
    """Each strength of an image is drawn uniformly from 1 - `spread` to 1 times the above; 0 to 1."""
    dynamic_range: float = 60.0
    """Decibels from black to white that the image is taken to show; 20 to 120."""

    def __post_init__(self) -> None:
        """Raise a ConfigError that lists every field out of its range."""
        allowed = {"blur_axial": (0, 0.1), "blur_lateral": (0, 0.1), "speckle": (0, 1), "gain_drift": (0, 30),
                   "downsample": (0, 0.9), "spread": (0, 1), "dynamic_range": (20, 120)}  # fmt: skip
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        problems = [f"degradation.{name} = {values[name]}: must be {low} to {high}"
                    for name, (low, high) in allowed.items() if not low <= values[name] <= high]  # fmt: skip
        if problems:
            raise ConfigError(problems)


def degrade(images_B1SS: Tensor, *, seeds_B: Tensor, settings: DegradationConfig) -> Tensor:
    """Blur, speckle, gain error and loss of pixels, for each image as its seed says.

    Args:
        images_B1SS: float32 in [0, 1], on any device; rows are depth. Not changed.
        seeds_B: int64 on the CPU, one an image. May be those of `augment`.
        settings: Strengths.

    Returns:
        float32 (B, 1, S, S) in [0, 1], on the device of the images; with every strength 0 the images themselves.
    """
    side = images_B1SS.shape[-1]
    wanted = _PARTS + _COSINES + (2 * side * side if settings.speckle else 0)
    uniform_BU = counter_uniform(seeds_B ^ _STREAM, wanted).to(images_B1SS.device)
    factor_B5 = 1 - settings.spread * uniform_BU[:, :_PARTS]
    x_B1SS = images_B1SS
    if settings.blur_axial or settings.blur_lateral or settings.speckle or settings.gain_drift:
        scale = 10 ** (settings.dynamic_range / 20) - 1
        amplitude_B1SS = torch.expm1(x_B1SS * math.log1p(scale)) / scale
        worse_B1SS = _acquired_worse(amplitude_B1SS, factor_B5, uniform_BU[:, _PARTS:], settings)
        x_B1SS = (torch.log1p(worse_B1SS * scale) / math.log1p(scale)).clamp(0, 1)
    return _fewer_pixels(x_B1SS, settings.downsample * factor_B5[:, 4]) if settings.downsample else x_B1SS


def _acquired_worse(
    amplitude_B1SS: Tensor, factor_B5: Tensor, uniform_BU: Tensor, settings: DegradationConfig
) -> Tensor:
    """What acts on the echo's amplitude."""
    side = amplitude_B1SS.shape[-1]
    axial_B, lateral_B = settings.blur_axial * side * factor_B5[:, 0], settings.blur_lateral * side * factor_B5[:, 1]
    if settings.blur_axial or settings.blur_lateral:
        rows_BSS, columns_BSS = _gaussian(axial_B, side), _gaussian(lateral_B, side)
        amplitude_B1SS = _along_both(amplitude_B1SS, rows_BSS, columns_BSS)
    if settings.speckle:
        noise_BSS = _rayleigh(uniform_BU[:, _COSINES:], axial_B, lateral_B, side=side)
        strength_B = settings.speckle * factor_B5[:, 2]
        amplitude_B1SS = amplitude_B1SS * (noise_BSS ** strength_B[:, None, None])[:, None]
    if settings.gain_drift:
        decibels_BS = _drift(uniform_BU[:, :_COSINES], side) * (settings.gain_drift * factor_B5[:, 3])[:, None]
        amplitude_B1SS = amplitude_B1SS * (10 ** (decibels_BS / 20))[:, None, :, None]
    return amplitude_B1SS.clamp(0, 1)


def _gaussian(deviation_B: Tensor, side: int) -> Tensor:
    """Blur along one axis as a matrix, (B, S, S); the weights of a pixel sum to 1, at the border too."""
    place_S = torch.arange(side, device=deviation_B.device, dtype=torch.float32)
    return _weights((place_S[:, None] - place_S)[None], deviation_B)


def _around(deviation_B: Tensor, side: int) -> Tensor:
    """As `_gaussian` on a ring, and of unit power in place of unit sum: white noise keeps its variance."""
    place_S = torch.arange(side, device=deviation_B.device, dtype=torch.float32)
    apart_SS = (place_S[:, None] - place_S).abs()
    weights_BSS = _weights(torch.minimum(apart_SS, side - apart_SS)[None], deviation_B)
    return weights_BSS / weights_BSS.square().sum(dim=2, keepdim=True).sqrt()


def _weights(apart_1SS: Tensor, deviation_B: Tensor) -> Tensor:
    # A deviation of 0 gives the identity: every other pixel's weight underflows to 0.
    narrow_B11 = deviation_B.clamp(min=1e-3)[:, None, None]
    weights_BSS = torch.exp(-0.5 * (apart_1SS / narrow_B11).square())
    return weights_BSS / weights_BSS.sum(dim=2, keepdim=True)


def _along_both(x_BCSS: Tensor, rows_BSS: Tensor, columns_BSS: Tensor) -> Tensor:
    """Each image by its own matrices. One by one: a batched product may round otherwise in another batch."""
    mixed = [rows @ x_CSS @ columns.T for x_CSS, rows, columns in zip(x_BCSS, rows_BSS, columns_BSS, strict=True)]
    return torch.stack(mixed) if mixed else x_BCSS


def _rayleigh(uniform_BU: Tensor, axial_B: Tensor, lateral_B: Tensor, *, side: int) -> Tensor:
    """The modulus of a complex Gaussian field, of mean square 1 and with grains of the point spread: (B, S, S)."""
    radius_BSS, turn_BSS = uniform_BU.reshape(-1, 2, side, side).unbind(1)
    radius_BSS = (-torch.log(1 - radius_BSS)).sqrt()  # Box and Muller; 1 - u is never 0
    field_B2SS = torch.stack([torch.cos(2 * math.pi * turn_BSS), torch.sin(2 * math.pi * turn_BSS)], dim=1)
    field_B2SS = _along_both(radius_BSS[:, None] * field_B2SS, _around(axial_B, side), _around(lateral_B, side))
    return field_B2SS.square().sum(dim=1).sqrt()


def _drift(uniform_BK: Tensor, side: int) -> Tensor:
    """A smooth curve of depth, the largest of its values 1 or -1: (B, S)."""
    depth_S = (torch.arange(side, device=uniform_BK.device) + 0.5) / side
    order_K = torch.arange(1, _COSINES + 1, device=uniform_BK.device)
    cosine_KS = torch.cos(math.pi * order_K[:, None] * depth_S)
    curve_BS = ((2 * uniform_BK - 1)[:, :, None] * cosine_KS).sum(dim=1)
    return curve_BS / curve_BS.abs().amax(dim=1, keepdim=True).clamp(min=1e-6)


def _fewer_pixels(images_B1SS: Tensor, lost_B: Tensor) -> Tensor:
    """Each image shrunk to its own share of the side, with antialiasing, and enlarged again."""
    side = images_B1SS.shape[-1]
    kept_B = (side * (1 - lost_B)).round().clamp(1, side).long().cpu()
    found_B1SS = images_B1SS.clone()
    for kept in sorted(set(kept_B.tolist())):
        own_B = (kept_B == kept).to(images_B1SS.device)
        small = functional.interpolate(images_B1SS[own_B], (kept, kept), mode="bilinear", antialias=True)
        found_B1SS[own_B] = functional.interpolate(small, (side, side), mode="bilinear")
    return found_B1SS.clamp(0, 1)
