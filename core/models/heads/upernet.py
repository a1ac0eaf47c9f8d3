"""UPerNet on a plain vision transformer.

Tokens of four blocks become maps of four sizes (4, 2, 1 and 1/2 times the grid), as BEiT and the released USFM
configuration do it; the coarsest is pooled over 1, 2, 3 and 6 parts of a side, and a feature pyramid brings all to the
finest. An auxiliary head on the third map is trained beside it and not used afterwards.

Deviations: GroupNorm where the paper has (synchronized) BatchNorm, because a batch's statistics mix the images of a
batch, which differential privacy forbids, differ between hospitals, and mean nothing for the one image of a prediction.
No dropout before the last layer. One structure: a logit instead of two classes, and the soft Dice beside the cross
entropy. The width follows the encoder's.

Shape legend: B batch, D encoder width, C width, G patches along a side, S side of a map, E image side.

T. Xiao, Y. Liu, B. Zhou, Y. Jiang, J. Sun, "Unified Perceptual Parsing for Scene Understanding", ECCV 2018,
arXiv:1807.10221 (UPerNet).
H. Zhao, J. Shi, X. Qi, X. Wang, J. Jia, "Pyramid Scene Parsing Network", CVPR 2017, arXiv:1612.01105 (pooling, the
auxiliary loss and its weight).
T.-Y. Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, arXiv:1612.03144.
H. Bao, L. Dong, S. Piao, F. Wei, "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022, arXiv:2106.08254 (the
maps).
Y. Wu, K. He, "Group Normalization", ECCV 2018, arXiv:1803.08494.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from core.models.heads.base import Head, as_grid, blocks_at
from core.models.heads.losses import dice_ce

POOLS = (1, 2, 3, 6)
"""Parts along a side that the coarsest map is pooled over; more than the map has repeats its values."""
AUXILIARY_WEIGHT = 0.4
WIDEST = 768
"""Channels, as in the released configuration for ViT-B/16."""
_GROUP = 16
"""Channels a group; the sixteen of Wu and He. One pooled to a single pixel still has what to be compared with."""


class UPerNetHead(Head):
    """Tokens of four blocks to the logit that a pixel is inside, (B, 1, E, E)."""

    def __init__(self, width: int, *, depth: int, patch: int, inside: int = 0) -> None:
        """`inside` channels; 0 takes `default_width`."""
        super().__init__()
        inside = inside or default_width(width, patch=patch)
        narrow = max(1, inside // 3)  # 256 of 768
        self.blocks = blocks_at(1, 1.5, 2, 3, depth=depth)
        self.pyramid = nn.ModuleList(
            [_four_times(width), nn.ConvTranspose2d(width, width, 2, 2), nn.Identity(), _Half()]
        )
        self.pools = nn.ModuleList(_pooled(width, inside, parts=parts) for parts in POOLS)
        self.top = _conv(width + len(POOLS) * inside, inside, kernel=3)
        self.laterals = nn.ModuleList(_conv(width, inside, kernel=1) for _ in range(3))
        self.smooth = nn.ModuleList(_conv(inside, inside, kernel=3) for _ in range(3))
        self.fuse = _conv(4 * inside, inside, kernel=3)
        self.logit = nn.Conv2d(inside, 1, 1)
        self.auxiliary = nn.Sequential(_conv(width, narrow, kernel=3), nn.Conv2d(narrow, 1, 1))

    @override
    def forward(self, features: Sequence[Tensor], x_B1EE: Tensor) -> Tensor:
        """Logits (B, 1, E, E)."""
        return self._decode(self._maps(features), x_B1EE)

    @override
    def loss(self, features: Sequence[Tensor], x_B1EE: Tensor, target: Tensor) -> Tensor:
        """Soft Dice and cross entropy of the prediction, and 0.4 times those of the auxiliary head."""
        maps = self._maps(features)
        auxiliary = _resize(self.auxiliary(maps[2]), x_B1EE)
        return dice_ce(self._decode(maps, x_B1EE), target) + AUXILIARY_WEIGHT * dice_ce(auxiliary, target)

    def _maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """(B, D, S, S) with S = 4 G, 2 G, G, G / 2."""
        return [layer(as_grid(tokens)) for layer, tokens in zip(self.pyramid, features, strict=True)]

    def _decode(self, maps: Sequence[Tensor], x_B1EE: Tensor) -> Tensor:
        coarsest = maps[3]
        merged = self.top(torch.cat([coarsest, *(_resize(pool(coarsest), coarsest) for pool in self.pools)], dim=1))
        levels = [merged]
        for level in (2, 1, 0):
            merged = self.laterals[level](maps[level]) + _resize(merged, maps[level])
            levels.append(self.smooth[level](merged))
        fused = self.fuse(torch.cat([_resize(level, maps[0]) for level in reversed(levels)], dim=1))
        return _resize(self.logit(fused), x_B1EE)


def default_width(width: int, *, patch: int) -> int:
    """Channels inside for an encoder: 768 for ViT-B/16, less where the encoder is narrower or its patches smaller.

    The finest map has a pixel per quarter patch, so with patches half as large it costs four times as much an image.
    A multiple of 16, the channels of a group.
    """
    return min(WIDEST, max(_GROUP, width * patch // 16 // _GROUP * _GROUP))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, max(1, channels // _GROUP)), channels)


def _conv(channels: int, out: int, *, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, _norm(out), nn.ReLU())


def _pooled(channels: int, out: int, *, parts: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(parts), _conv(channels, out, kernel=1))


def _four_times(width: int) -> nn.Sequential:
    first, second = (nn.ConvTranspose2d(width, width, 2, 2) for _ in range(2))
    return nn.Sequential(first, _norm(width), nn.GELU(), second)


class _Half(nn.Module):
    """The largest value of each 2 x 2 part; a single patch stays."""

    def forward(self, x_BDGG: Tensor) -> Tensor:
        return functional.adaptive_max_pool2d(x_BDGG, max(1, x_BDGG.shape[2] // 2))


def _resize(x_BCSS: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x_BCSS, size=like.shape[2:], mode="bilinear", align_corners=False)
