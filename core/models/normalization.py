"""How grey images are normalized before an encoder sees them; weights are worth little with another than their own."""

import torch
from torch import Tensor

from core.data.augmentation import standardize
from core.errors import ConfigError

PER_IMAGE = "per_image"
"""Each image's own mean and deviation: our releases."""
IMAGENET = "imagenet"
"""ImageNet's means and deviations by channel: USFM, MAE, URFM."""
HALF = "half"
"""Mean and deviation one half, so that values lie in [-1, 1]: timm's BEiT and several of its ViTs."""
_BY_CHANNEL = {
    IMAGENET: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    HALF: ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
NORMALIZATIONS = (PER_IMAGE, *_BY_CHANNEL)


def normalize(images_B1SS: Tensor, *, how: str) -> Tensor:
    """Grey images as an encoder of three channels expects them; a constant by channel needs all three.

    Args:
        images_B1SS: Floating point of 0 to 1, one channel.
        how: One of `NORMALIZATIONS`.

    Returns:
        (B, 1, S, S) for `per_image`, otherwise (B, 3, S, S).

    Raises:
        ConfigError: `how` is none of them.
    """
    if how == PER_IMAGE:
        return standardize(images_B1SS)
    if how not in _BY_CHANNEL:
        raise ConfigError(f"normalization is {how!r}; choose one of {', '.join(NORMALIZATIONS)}")
    mean_311, deviation_311 = (torch.tensor(v, device=images_B1SS.device)[:, None, None] for v in _BY_CHANNEL[how])
    return (images_B1SS - mean_311) / deviation_311
