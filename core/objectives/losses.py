"""The two losses on one reconstruction, each normalized within its image and never across the batch.

All take the difference between reconstruction and target and return one float32 (or float64) value an image.

Shape legend: B batch, S image side, F = S // 2 + 1 columns of the half spectrum.

Xie et al., "SimMIM: A Simple Framework for Masked Image Modeling", CVPR 2022, arXiv:2111.09886 (L1 on masked pixels).
Jiang, Dai, Wu and Loy, "Focal Frequency Loss for Image Reconstruction and Synthesis", ICCV 2021, arXiv:2012.12821.
"""

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision widened to float32; float64 stays, so that proofs can run in it."""
    return values if values.dtype == torch.float64 else values.float()


def masked_l1(difference_BSS: Tensor, mask_BSS: Tensor | None) -> Tensor:
    """The mean absolute difference over each image's masked pixels, or over all pixels without a mask: (B,).

    Every image needs a masked pixel.
    """
    magnitude_BSS = at_least_float32(difference_BSS).abs()
    if mask_BSS is None:
        return magnitude_BSS.mean(dim=(1, 2))
    return (magnitude_BSS * mask_BSS).sum(dim=(1, 2)) / mask_BSS.sum(dim=(1, 2))


def focal_frequency(difference_BSS: Tensor) -> Tensor:
    """Focal frequency loss with alpha 1: the mean over the full spectrum of w |D|^2, (B,).

    D is the orthonormal spectrum of the difference, which is the difference of the spectra. w = |D| / max |D| of the
    image is Jiang et al.'s spectrum weight matrix, normalized per image and without the logarithm that A2MIM adds; no
    gradient flows through it.
    """
    spectrum_BSF = torch.fft.rfft2(at_least_float32(difference_BSS), norm="ortho")
    power_BSF = torch.view_as_real(spectrum_BSF).square().sum(dim=-1)
    weight_BSF = power_BSF.detach().sqrt()
    largest_B11 = weight_BSF.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return _full_mean(power_BSF * (weight_BSF / largest_B11), side=difference_BSS.shape[-1])


def l1_frequency(difference_BSS: Tensor) -> Tensor:
    """The mean over the full orthonormal spectrum of the modulus |D|, (B,)."""
    spectrum_BSF = torch.fft.rfft2(at_least_float32(difference_BSS), norm="ortho")
    return _full_mean(spectrum_BSF.abs(), side=difference_BSS.shape[-1])


def _full_mean(values_BSF: Tensor, *, side: int) -> Tensor:
    """The mean over the S x S spectrum: a column of the half spectrum stands for two unless it is its own mirror."""
    twice_F = torch.full((side // 2 + 1,), 2.0, device=values_BSF.device)
    twice_F[0] = 1.0
    if side % 2 == 0:
        twice_F[-1] = 1.0
    return (values_BSF.sum(dim=1) * twice_F).sum(dim=1) / side**2
