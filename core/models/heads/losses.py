"""Segmentation losses of MONAI, one value an image.

The soft Dice has 1 added above and below, so an empty mask has a loss too. Everything is computed in float32, also
where the prediction is bfloat16: a sum over the pixels needs more than 8 bits.

Shape legend: B batch, E image side.

MONAI Consortium, "MONAI: An open-source framework for deep learning in healthcare", 2022, arXiv:2211.02701.
F. Milletari, N. Navab, S.-A. Ahmadi, "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image
Segmentation", 3DV 2016, arXiv:1606.04797 (soft Dice; here with the plain sizes in the denominator).
T.-Y. Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, arXiv:1708.02002.
"""

from functools import cache

from torch import Tensor, nn


@cache
def _dice_ce() -> nn.Module:
    from monai.losses.dice import DiceCELoss  # Here, so that no one who only predicts waits six seconds for MONAI.

    return DiceCELoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0)


@cache
def _dice() -> nn.Module:
    from monai.losses.dice import DiceLoss  # Here, as above.

    return DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0, reduction="none")


@cache
def _focal(alpha: float, gamma: float) -> nn.Module:
    from monai.losses.focal_loss import FocalLoss  # Here, as above.

    return FocalLoss(alpha=alpha, gamma=gamma, reduction="none")


def dice_ce(logits_B1EE: Tensor, masks_B1EE: Tensor) -> Tensor:
    """1 - soft Dice + binary cross entropy, each of an image, then the mean of the images; a scalar."""
    value: Tensor = _dice_ce()(logits_B1EE.float(), masks_B1EE.float())
    return value


def dice_of_images(logits_B1EE: Tensor, masks_B1EE: Tensor) -> Tensor:
    """1 - soft Dice of each image, (B,)."""
    value_B111: Tensor = _dice()(logits_B1EE.float(), masks_B1EE.float())
    return value_B111.flatten()


def focal_of_images(logits_B1EE: Tensor, masks_B1EE: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """Sigmoid focal loss, the mean over each image's pixels, (B,).

    A pixel's is -a (1 - p)^gamma log p, with p the probability of what is true there; a is `alpha` inside, 1 - `alpha`
    outside.
    """
    value_B1EE: Tensor = _focal(alpha, gamma)(logits_B1EE.float(), masks_B1EE.float())
    return value_B1EE.flatten(1).mean(dim=1)
