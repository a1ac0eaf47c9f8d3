"""The enhancement head."""

import torch

from core.models.heads.restore import RestoreHead


def _head() -> RestoreHead:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return RestoreHead(8, patch=4)


def test_untrained_it_returns_the_image_as_it_came() -> None:
    image, tokens = 5 * torch.randn(2, 1, 12, 12), torch.randn(2, 10, 8)
    assert torch.equal(_head()([tokens], image), image)


def test_the_loss_is_the_mean_absolute_error() -> None:
    image, tokens = torch.zeros(1, 1, 12, 12), torch.randn(1, 10, 8)
    clean = torch.full((1, 1, 12, 12), 0.5)
    clean[..., :6] = -1.0
    torch.testing.assert_close(_head().loss([tokens], image, clean), torch.tensor((0.5 + 1.0) / 2))


def test_the_residual_sees_the_tokens_and_the_image() -> None:
    head, image, tokens = _head(), torch.randn(1, 1, 12, 12), torch.randn(1, 10, 8)
    torch.nn.init.normal_(head.residual.weight)
    residual = head([tokens], image) - image
    assert not torch.allclose(head([tokens + 1], image) - image, residual)
    assert not torch.allclose(head([tokens], image + 1) - image - 1, residual)
