"""UPerNet: its maps, its width, its auxiliary loss."""

import pytest
import torch

from core.models.heads.losses import dice_ce
from core.models.heads.upernet import AUXILIARY_WEIGHT, POOLS, UPerNetHead, default_width


def _head(*, depth: int = 4) -> UPerNetHead:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UPerNetHead(16, depth=depth, patch=4)


def _features(grid: int, *, batch: int = 2) -> list[torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    return [torch.randn(batch, 1 + grid**2, 16, generator=draws) for _ in range(4)]


@pytest.mark.parametrize(("grid", "sides"), [(8, [32, 16, 8, 4]), (5, [20, 10, 5, 2]), (1, [4, 2, 1, 1])])
def test_four_maps_from_one_size_of_grid(grid: int, sides: list[int]) -> None:
    assert [maps.shape[-1] for maps in _head()._maps(_features(grid))] == sides


def test_more_parts_than_pixels_repeat_them() -> None:
    head = _head()
    map_2 = torch.randn(1, 16, 2, 2)
    for parts, pool in zip(POOLS, head.pools, strict=True):
        assert pool[0](map_2).shape[-1] == parts
    pooled = head.pools[-1][0](map_2)  # 6 parts of 2 pixels: each pixel three times
    assert torch.equal(pooled, map_2.repeat_interleave(3, 2).repeat_interleave(3, 3))


@pytest.mark.parametrize(
    ("width", "patch", "expected"),
    [
        (768, 16, 768),  # the released configuration
        (1024, 16, 768),  # no wider than that
        (128, 8, 64),  # 128 * 8 / 16
        (200, 8, 96),  # 100, down to a multiple of 16
        (8, 2, 16),  # no narrower than a group
    ],
)
def test_the_width_follows_the_encoder(width: int, patch: int, expected: int) -> None:
    assert default_width(width, patch=patch) == expected


def test_the_auxiliary_head_adds_its_loss_and_nothing_to_the_prediction() -> None:
    head, features, image = _head(), _features(4), torch.zeros(2, 1, 16, 16)
    masks = (torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    prediction, loss = head(features, image), head.loss(features, image, masks)
    for parameter in head.auxiliary.parameters():
        torch.nn.init.zeros_(parameter)  # the auxiliary logits are 0 then
    assert torch.equal(head(features, image), prediction)
    zero = dice_ce(torch.zeros_like(masks), masks)
    torch.testing.assert_close(head.loss(features, image, masks), dice_ce(prediction, masks) + AUXILIARY_WEIGHT * zero)
    assert not torch.equal(head.loss(features, image, masks), loss)
