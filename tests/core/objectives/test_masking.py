"""Blocks: counts, whole blocks, seeds."""

import math

import numpy as np
import pytest
import torch

from core.objectives.masking import block_of_patch, draw_corruption, masked_count


def test_even_grids_hide_simmims_count() -> None:
    assert masked_count(grid=14, block=2, ratio=0.6) == math.ceil(0.6 * 49) * 4 == 120
    assert masked_count(grid=8, block=2, ratio=0.75) == 12 * 4


def test_odd_grids_hide_the_nearest_whole_block_count_above() -> None:
    # 15 x 15 = 225 patches; 0.6 * 225 / 4 = 33.75, so 34 * 4 = 136 patches, 0.604 of them.
    assert masked_count(grid=15, block=2, ratio=0.6) == 136
    assert masked_count(grid=7, block=1, ratio=0.5) == 25


def test_blocks_are_clipped_at_the_edge() -> None:
    assert block_of_patch(grid=3, block=2).reshape(3, 3).tolist() == [[0, 0, 1], [0, 0, 1], [2, 2, 3]]


@pytest.mark.parametrize(("grid", "block"), [(8, 2), (14, 2), (6, 3), (5, 1)])
def test_whole_blocks_are_hidden_where_blocks_fit(grid: int, block: int) -> None:
    blocks, count = block_of_patch(grid=grid, block=block), masked_count(grid=grid, block=block, ratio=0.6)
    order = draw_corruption(torch.arange(50), blocks_N=blocks, bank=1).order_BN.numpy()
    for row in order:
        assert np.array_equal(np.sort(row), np.arange(grid**2))
        held = np.bincount(blocks[row[-count:]])
        assert set(held[held > 0].tolist()) == {block**2}


def test_at_most_one_block_is_cut_on_an_odd_grid() -> None:
    blocks, count = block_of_patch(grid=15, block=2), masked_count(grid=15, block=2, ratio=0.6)
    sizes = np.bincount(blocks)
    order = draw_corruption(torch.arange(50), blocks_N=blocks, bank=1).order_BN.numpy()
    for row in order:
        held = np.bincount(blocks[row[-count:]], minlength=len(sizes))
        assert int(((held > 0) & (held < sizes)).sum()) <= 1


def test_every_patch_is_hidden_equally_often() -> None:
    blocks, count = block_of_patch(grid=8, block=2), masked_count(grid=8, block=2, ratio=0.75)
    order = draw_corruption(torch.arange(4000), blocks_N=blocks, bank=21)
    share = np.bincount(order.order_BN[:, -count:].flatten().numpy(), minlength=64) / 4000
    # Standard error sqrt(0.75 * 0.25 / 4000) = 0.007.
    assert np.abs(share - 0.75).max() < 0.035
    chosen = np.bincount(order.mask_B.numpy(), minlength=21) / 4000
    assert len(chosen) == 21
    assert np.abs(chosen - 1 / 21).max() < 0.02  # standard error 0.0034


def test_a_draw_depends_on_the_images_own_seed_only() -> None:
    blocks = block_of_patch(grid=8, block=2)
    seeds = torch.tensor([5, 2**62 + 1, -3, 5, 6])
    together = draw_corruption(seeds, blocks_N=blocks, bank=21)
    for row, seed in enumerate(seeds):
        alone = draw_corruption(seed[None], blocks_N=blocks, bank=21)
        assert torch.equal(alone.order_BN[0], together.order_BN[row])
        assert alone.mask_B[0] == together.mask_B[row]
    assert torch.equal(together.order_BN[0], together.order_BN[3])
    assert len(together.order_BN.unique(dim=0)) == 4
