"""The enhancement head: what must be added to a degraded image.

The tokens say what is where: two small convolutions on their grid and pixel shuffle make some maps at full resolution.
Three convolutions see these maps beside the image and give the difference to the clean one. The last starts at zero, so
the untrained head returns the image as it came.

The loss is the mean absolute error alone: Zhao et al. found it to give a better PSNR than the squared error, and a
structural term beside it would train for one of the scores that are reported.

Shape legend: B batch, G patches along a side, E image side.

K. Zhang, W. Zuo, Y. Chen, D. Meng, L. Zhang, "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image
Denoising", IEEE TIP 2017, arXiv:1608.03981 (the residual; here without batch normalization).
W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network", CVPR 2016, arXiv:1609.05158 (pixel shuffle).
H. Zhao, O. Gallo, I. Frosio, J. Kautz, "Loss Functions for Image Restoration with Neural Networks", IEEE TCI 2017,
arXiv:1511.08861.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from core.models.heads.base import Head, as_grid

WIDTH = 32
"""Channels on the grid of tokens."""
_FINE = 16
"""Channels at full resolution."""
_MAPS = 8
"""Maps that the tokens give at full resolution."""


class RestoreHead(Head):
    """Tokens (B, 1 + N, D) and the image to the restored image, (B, 1, E, E)."""

    def __init__(self, width: int, *, patch: int, inside: int = WIDTH) -> None:
        super().__init__()
        self.coarse = nn.Sequential(
            nn.Conv2d(width, inside, 1),
            nn.GELU(),
            nn.Conv2d(inside, inside, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(inside, _MAPS * patch**2, 1),
            nn.PixelShuffle(patch),
        )
        self.fine = nn.Sequential(
            nn.Conv2d(_MAPS + 1, _FINE, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(_FINE, _FINE, 3, padding=1),
            nn.GELU(),
        )
        self.residual = nn.Conv2d(_FINE, 1, 3, padding=1)
        nn.init.zeros_(self.residual.weight)
        assert self.residual.bias is not None
        nn.init.zeros_(self.residual.bias)

    @override
    def forward(self, features: Sequence[Tensor], x_B1EE: Tensor) -> Tensor:
        """The restored image, in the units of the input."""
        maps = self.coarse(as_grid(features[0]))
        restored_B1EE: Tensor = x_B1EE + self.residual(self.fine(torch.cat([maps, x_B1EE.to(maps.dtype)], dim=1)))
        return restored_B1EE

    @override
    def loss(self, features: Sequence[Tensor], x_B1EE: Tensor, target: Tensor) -> Tensor:
        """The mean absolute error."""
        return functional.l1_loss(self(features, x_B1EE).float(), target)
