"""What is hidden of each image: blocks of patches and a choice of rings, drawn from the image's own seed alone.

So neither the order of a batch nor its division among processes or hospitals changes what is hidden of an image.

Shape legend: B batch, N patches, M masked patches, G patches along a side.

Xie et al., "SimMIM: A Simple Framework for Masked Image Modeling", CVPR 2022, arXiv:2111.09886 (random
blocks of 32 pixels).
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_PURPOSE = 0x6D61736B
"""Second word of the Philox key, so that another use of an image's seed does not draw the same numbers."""


class Corruption(NamedTuple):
    """A batch's draw, on the CPU."""

    order_BN: Tensor
    """int64, a permutation of the patches of each image: visible ones first, the M masked ones last."""
    mask_B: Tensor
    """int64 in [0, bank), each image's mask in the bank of rings."""


def masked_count(*, grid: int, block: int, ratio: float) -> int:
    """How many patches are masked: `ceil(ratio G^2 / block^2) block^2`, the same for every image.

    On a grid that blocks divide this is SimMIM's count, `ceil(ratio * blocks)` whole blocks (14 x 14 patches, 2 x 2
    blocks, ratio 0.6: 30 of 49 blocks, 120 patches). On others the blocks at the right and lower edge are clipped, so
    that whole blocks cannot always make up the count: the last block drawn is then masked in part. The count may exceed
    G^2 - 1 on tiny grids; the caller checks that a patch stays visible.
    """
    return math.ceil(ratio * grid**2 / block**2 - 1e-9) * block**2


def block_of_patch(*, grid: int, block: int) -> np.ndarray:
    """For each patch, row by row, the number of the block it lies in: int64 (N,); edge blocks are clipped."""
    line = np.arange(grid) // block
    blocks_along = -(-grid // block)
    return (line[:, None] * blocks_along + line).reshape(-1)


def draw_corruption(seeds_B: Tensor, *, blocks_N: np.ndarray, bank: int) -> Corruption:
    """Draws each image's block order and mask of rings.

    Blocks come in uniformly random order, patches within a block row by row; whoever masks the last M patches of the
    order masks whole blocks, but for the first of them on a grid that blocks do not divide.

    Args:
        seeds_B: int64 on the CPU, one seed an image.
        blocks_N: From `block_of_patch`.
        bank: Number of masks to choose from, at least 1.
    """
    blocks = int(blocks_N.max()) + 1
    uniform = np.empty((len(seeds_B), blocks + 1))
    for row, seed in enumerate(seeds_B.tolist()):
        key = np.array([seed & 0xFFFFFFFFFFFFFFFF, _PURPOSE], dtype=np.uint64)
        np.random.Generator(np.random.Philox(key=key)).random(out=uniform[row])
    order_BN = np.argsort(uniform[:, 1:][:, blocks_N], axis=1, kind="stable")
    # A uniform below 1 times the bank's size may round up to it.
    mask_B = np.minimum((uniform[:, 0] * bank).astype(np.int64), bank - 1)
    return Corruption(torch.from_numpy(order_BN), torch.from_numpy(mask_B))
