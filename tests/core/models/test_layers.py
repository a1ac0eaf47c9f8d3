"""The parts: bias rows, tokens, patches, stochastic depth."""

import math

import torch
from torch import nn

from core.models.layers import (
    AppendTokens,
    Block,
    DropPath,
    PrependToken,
    QueryValueBias,
    RelativePositionBias,
    from_patches,
    initialize,
    rescale_blocks,
    to_patches,
)


def test_position_rows_of_a_two_by_two_grid() -> None:
    # Offsets (down, across) in [-1, 1]^2 as 3 * (down + 1) + (across + 1); then 9 class-to-patch, 10 back, 11 itself.
    expected = torch.tensor(
        [
            [11, 9, 9, 9, 9],
            [10, 4, 3, 1, 0],
            [10, 5, 4, 2, 1],
            [10, 7, 6, 4, 3],
            [10, 8, 7, 5, 4],
        ]
    )
    assert torch.equal(RelativePositionBias(grid=2, heads=1).index(None)[0], expected)


def test_gathered_rows_are_those_of_the_whole_table() -> None:
    bias = RelativePositionBias(grid=5, heads=2)
    visible = torch.stack([torch.randperm(25)[:7] for _ in range(3)])
    whole = bias.index(None)[0]
    for image, patches in enumerate(visible):
        kept = torch.cat([torch.zeros(1, dtype=torch.long), patches + 1])
        assert torch.equal(bias.index(visible)[image], whole[kept][:, kept])


def test_tokens_stand_where_they_should() -> None:
    x = torch.arange(12.0).reshape(2, 2, 3)
    first, last = PrependToken(3), AppendTokens(3)
    nn.init.constant_(first.weight, 7.0)
    nn.init.constant_(last.weight, 9.0)
    assert torch.equal(first(x)[:, 0], torch.full((2, 3), 7.0))
    assert torch.equal(first(x)[:, 1:], x)
    assert torch.equal(last(x, 2)[:, :2], x)
    assert torch.equal(last(x, 2)[:, 2:], torch.full((2, 2, 3), 9.0))
    assert torch.equal(last(x, 0), x)


def test_keys_get_no_bias() -> None:
    bias = QueryValueBias(2)
    nn.init.constant_(bias.q, 1.0)
    nn.init.constant_(bias.v, 3.0)
    assert bias(torch.zeros(1, 1, 6)).flatten().tolist() == [1.0, 1.0, 0.0, 0.0, 3.0, 3.0]


def test_patches_come_row_by_row_and_go_back() -> None:
    image = torch.arange(36.0).reshape(1, 1, 6, 6)
    patches = to_patches(image, patch=2)
    assert patches.shape == (1, 9, 1, 2, 2)
    assert patches[0, 1, 0].tolist() == [[2.0, 3.0], [8.0, 9.0]]
    assert torch.equal(from_patches(patches.flatten(2), patch=2), image)


def test_pixels_are_placed_as_pixel_shuffle_places_them() -> None:
    tokens = torch.rand(2, 9, 16)
    shuffled = nn.functional.pixel_shuffle(tokens.transpose(1, 2).reshape(2, 16, 3, 3), 4)
    assert torch.equal(from_patches(tokens, patch=4), shuffled)


def test_dropped_branches_are_whole_images_and_the_mean_stays() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    out = drop(torch.ones(4000, 2, 3))
    torch.testing.assert_close(out.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert torch.equal(out.amin(dim=(1, 2)), out.amax(dim=(1, 2)))
    assert abs(out.mean().item() - 1.0) < 0.05
    assert torch.equal(drop.eval()(torch.ones(5, 2, 3)), torch.ones(5, 2, 3))


def test_later_blocks_start_smaller() -> None:
    torch.manual_seed(0)
    blocks = nn.ModuleList(Block(64, heads=2) for _ in range(3))
    initialize(blocks)
    rescale_blocks(blocks)
    for number, block in enumerate(blocks):
        assert isinstance(block, Block)
        expected = 0.02 / math.sqrt(2 * (number + 1))
        assert abs(block.attn.proj.weight.std().item() / expected - 1) < 0.05
        assert abs(block.mlp.fc2.weight.std().item() / expected - 1) < 0.05
        assert abs(block.mlp.fc1.weight.std().item() / 0.02 - 1) < 0.05
