"""Which blocks a head reads, and tokens as a map."""

import pytest
import torch

from core.models.heads.base import LAST, as_grid, blocks_at


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (12, (3, 5, 7, LAST)),  # the released USFM configuration's 3, 5, 7, 11
        (24, (7, 11, 15, LAST)),  # BEiT-Large's
        (4, (0, 1, 2, LAST)),  # ends at 4/3, 2, 8/3, 4: after blocks 1, 2, 3, 4
        (2, (0, 0, 0, LAST)),  # 2/3, 1, 4/3, 2
        (1, (LAST,) * 4),  # 1/3 is no block at all; the first is taken
    ],
)
def test_blocks_stand_at_the_same_parts_of_any_depth(depth: int, expected: tuple[int, ...]) -> None:
    assert blocks_at(1, 1.5, 2, 3, depth=depth) == expected


def test_the_class_token_is_no_pixel_and_rows_come_first() -> None:
    tokens = torch.arange(5.0)[None, :, None] * torch.tensor([1.0, 10.0])
    expected = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]]])
    assert torch.equal(as_grid(tokens), expected)
