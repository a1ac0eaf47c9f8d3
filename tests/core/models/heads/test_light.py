"""The light head and its loss."""

import torch
from torch.nn import functional

from core.models.heads.light import LightHead, dice_and_entropy


def test_a_token_far_away_does_not_reach_a_pixel() -> None:
    head = LightHead(4, grid=4, patch=2, inside=8)
    tokens = torch.rand(1, 17, 4)
    other = tokens.clone()
    other[:, 16] += 1.0  # the last patch: row 3, column 3
    with torch.no_grad():
        change = (head([tokens], tokens) - head([other], tokens)).abs()[0, 0]
    assert float(change[:4, :4].max()) == 0.0  # one 3 x 3 convolution: rows and columns 2 and 3 of the grid at most
    assert float(change[4:, 4:].min()) > 0.0


def test_the_loss_is_bit_for_bit_what_published_probes_used() -> None:
    draws = torch.Generator().manual_seed(0)
    for side in (1, 7, 64):
        logits = 3 * torch.randn(5, 1, side, side, generator=draws)
        masks = (torch.rand(5, 1, side, side, generator=draws) < 0.2).float()
        inside = logits.sigmoid()
        both, sizes = (inside * masks).sum(dim=(1, 2, 3)), (inside + masks).sum(dim=(1, 2, 3))
        entropy = functional.binary_cross_entropy_with_logits(logits, masks)
        expected = 1 - ((2 * both + 1) / (sizes + 1)).mean() + entropy
        assert torch.equal(dice_and_entropy(logits, masks), expected)
