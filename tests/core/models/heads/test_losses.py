"""MONAI's losses on values that fit in the head."""

import math

import torch

from core.models.heads.light import dice_and_entropy
from core.models.heads.losses import dice_ce, dice_of_images, focal_of_images

# Two pixels at probabilities 3/4 and 1/4; one image has the first inside, the other nothing.
LOGITS = torch.tensor([math.log(3.0), -math.log(3.0)]).expand(2, 1, 1, 2)
MASKS = torch.tensor([[1.0, 0.0], [0.0, 0.0]])[:, None, None, :]


def test_soft_dice_of_each_image_empty_too() -> None:
    # (2 * 3/4 + 1) / (1 + 1 + 1) = 2.5 / 3 and (0 + 1) / (1 + 0 + 1) = 1 / 2
    torch.testing.assert_close(dice_of_images(LOGITS, MASKS), torch.tensor([1 - 2.5 / 3, 0.5]))


def test_focal_loss_weighs_inside_a_quarter_and_forgives_the_sure() -> None:
    # Image 1: both right with probability 3/4. Image 2: wrong at the first, right at the second.
    right, wrong = -((1 / 4) ** 2) * math.log(3 / 4), -((3 / 4) ** 2) * math.log(1 / 4)
    expected = torch.tensor([(0.25 * right + 0.75 * right) / 2, (0.75 * wrong + 0.75 * right) / 2])
    torch.testing.assert_close(focal_of_images(LOGITS, MASKS, alpha=0.25, gamma=2.0), expected)


def test_dice_and_entropy_is_the_mean_of_images() -> None:
    entropy = torch.tensor([-math.log(3 / 4), (-math.log(1 / 4) - math.log(3 / 4)) / 2])
    expected = (torch.tensor([1 - 2.5 / 3, 0.5]) + entropy).mean()
    torch.testing.assert_close(dice_ce(LOGITS, MASKS), expected)
    torch.testing.assert_close(dice_ce(LOGITS, MASKS), dice_and_entropy(LOGITS, MASKS))


def test_half_precision_logits_are_summed_in_single() -> None:
    logits = torch.full((1, 1, 64, 64), 1.0, dtype=torch.bfloat16)
    masks = torch.ones(1, 1, 64, 64)
    inside = 1 / (1 + math.exp(-1))
    expected = 1 - (2 * 4096 * inside + 1) / (4096 * inside + 4096 + 1)
    assert abs(float(dice_of_images(logits, masks)) - expected) < 1e-5
