"""SegViT: the product of two probabilities, the similarity that is a mask, the loss of a stage."""

import math

import pytest
import torch
from torch import Tensor

from core.models.heads.losses import dice_of_images, focal_of_images
from core.models.heads.segvit import SegViTHead, default_width, product_logit, stage_loss


def _head(*, depth: int = 12) -> SegViTHead:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SegViTHead(16, depth=depth)


def _features() -> list[Tensor]:
    draws = torch.Generator().manual_seed(0)
    return [torch.randn(2, 17, 16, generator=draws) for _ in range(3)]


def test_the_logit_of_a_product() -> None:
    x, y = torch.tensor([0.0, math.log(3.0), -2.0]), torch.tensor([0.0, math.log(3.0), 1.0])
    torch.testing.assert_close(product_logit(x, y).sigmoid(), x.sigmoid() * y.sigmoid())  # 1/4, 9/16, ...


def test_the_logit_of_a_product_is_exact_where_probabilities_round_to_0_and_1() -> None:
    # 1 - p is 2 exp(-50) at the first, p is exp(-200) at the second; both of no float32 probability.
    x = torch.tensor([50.0, -100.0, 3e4], requires_grad=True)
    y = torch.tensor([50.0, -100.0, -3e4])
    logits = product_logit(x, y)
    torch.testing.assert_close(logits, torch.tensor([50.0 - math.log(2.0), -200.0, -3e4]))
    (slope,) = torch.autograd.grad(logits.sum(), x)
    torch.testing.assert_close(slope, torch.tensor([0.5, 1.0, 0.0]))


def test_the_deepest_block_comes_first() -> None:
    assert _head().blocks == (-1, 7, 5)
    assert _head(depth=1).blocks == (-1, -1, -1)


@pytest.mark.parametrize(("width", "expected"), [(768, 384), (1024, 384), (128, 64), (100, 32), (40, 20), (1, 1)])
def test_the_width_is_half_of_the_encoder(width: int, expected: int) -> None:
    assert default_width(width) == expected


def test_masks_of_stages_are_added_and_the_last_is_the_prediction() -> None:
    head, features, image = _head(), _features(), torch.zeros(2, 1, 4, 4)  # a pixel a patch: nothing is interpolated
    found = list(head._predictions(features, image))
    query, total = head.query.weight.expand(2, 1, -1), torch.zeros(2, 1, 16)
    for stage, tokens, (presence, masks) in zip(head.stages, features, found, strict=True):
        query, similarity = stage(query, tokens[:, 1:])
        total = total + similarity
        torch.testing.assert_close(masks, total.reshape(2, 1, 4, 4))
        torch.testing.assert_close(presence, head.presence(query[:, 0]))
    presence, masks = found[-1]
    expected = presence.softmax(dim=1)[:, :1, None, None] * masks.sigmoid()
    torch.testing.assert_close(head(features, image).sigmoid(), expected)


def test_similarity_is_query_times_key_over_the_root_of_the_width() -> None:
    layer = _head().stages[0].layers[-1]
    query, patches = torch.randn(1, 1, 8), torch.randn(1, 5, 8)
    _, similarity = layer(query, patches)
    expected = layer.q(query) @ layer.k(patches).transpose(1, 2) / math.sqrt(8.0)
    torch.testing.assert_close(similarity, expected)


def test_the_loss_of_a_stage_with_and_without_the_structure() -> None:
    presence = torch.tensor([[math.log(3.0), 0.0], [math.log(3.0), 0.0]])  # structure with probability 3/4
    logits = torch.tensor([[2.0, -1.0], [4.0, 5.0]])[:, None, None, :]
    masks = torch.tensor([[1.0, 0.0], [0.0, 0.0]])[:, None, None, :]
    focal, dice = focal_of_images(logits, masks, alpha=0.25, gamma=2.0), dice_of_images(logits, masks)
    there = -math.log(3 / 4) + 20 * focal[0] + dice[0]
    absent = -0.1 * math.log(1 / 4)  # the mask of an image without the structure is not asked for
    torch.testing.assert_close(stage_loss(presence, logits, masks), (there + absent) / 2)


def test_the_loss_is_the_sum_of_three_stages() -> None:
    head, features, image = _head(), _features(), torch.zeros(2, 1, 8, 8)
    masks = (torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    stages = [stage_loss(*pair, masks) for pair in head._predictions(features, image)]
    assert len(stages) == 3
    torch.testing.assert_close(head.loss(features, image, masks), stages[0] + stages[1] + stages[2])
