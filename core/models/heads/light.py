"""The light segmentation head: two small convolutions on the grid of tokens and pixel shuffle.

Shape legend: B batch, N patches, G patches along a side, D width, E image side.

F. Milletari, N. Navab, S.-A. Ahmadi, "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image
Segmentation", 3DV 2016, arXiv:1606.04797 (soft Dice; here with the plain sizes in the denominator).
W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network", CVPR 2016, arXiv:1609.05158 (pixel shuffle).
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from core.models.heads.base import Head

WIDTH = 32
"""Channels inside: 18 thousand parameters at encoder width 192 and patch 8."""


class LightHead(Head):
    """Tokens (B, 1 + N, D) to the logit that a pixel is inside, (B, 1, E, E)."""

    def __init__(self, width: int, *, grid: int, patch: int, inside: int = WIDTH) -> None:
        super().__init__()
        self.grid = grid
        self.layers = nn.Sequential(
            nn.Conv2d(width, inside, 1),
            nn.GELU(),
            nn.Conv2d(inside, inside, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(inside, patch**2, 1),
            nn.PixelShuffle(patch),
        )

    @override
    def forward(self, features: Sequence[Tensor], x_B1EE: Tensor) -> Tensor:
        """Logits (B, 1, E, E)."""
        tokens_BDN = features[0][:, 1:].transpose(1, 2)
        logits_B1EE: Tensor = self.layers(tokens_BDN.reshape(*tokens_BDN.shape[:2], self.grid, self.grid))
        return logits_B1EE

    @override
    def loss(self, features: Sequence[Tensor], x_B1EE: Tensor, target: Tensor) -> Tensor:
        """`dice_and_entropy`."""
        return dice_and_entropy(self(features, x_B1EE).float(), target)


def dice_and_entropy(logits_B1EE: Tensor, masks_B1EE: Tensor) -> Tensor:
    """1 - soft Dice + binary cross entropy, each of an image, then the mean of the images; a scalar."""
    inside = logits_B1EE.sigmoid()
    both_B = (inside * masks_B1EE).sum(dim=(1, 2, 3))
    sizes_B = (inside + masks_B1EE).sum(dim=(1, 2, 3))
    dice_B = (2 * both_B + 1) / (sizes_B + 1)  # 1 pixel on both sides: an empty mask has a Dice too
    return 1 - dice_B.mean() + functional.binary_cross_entropy_with_logits(logits_B1EE, masks_B1EE)
