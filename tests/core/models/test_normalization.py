"""Grey images as each kind of weights expects them."""

import pytest
import torch

from core.errors import ConfigError
from core.models.normalization import HALF, IMAGENET, PER_IMAGE, normalize


def test_constants_are_by_channel() -> None:
    grey = torch.full((1, 1, 2, 2), 0.6)
    red = (0.6 - 0.485) / 0.229  # ImageNet's red channel
    imagenet = normalize(grey, how=IMAGENET)
    assert imagenet.shape == (1, 3, 2, 2)
    assert imagenet[0, 0, 0, 0].item() == pytest.approx(red, rel=1e-5)
    assert normalize(grey, how=HALF).unique().item() == pytest.approx((0.6 - 0.5) / 0.5, rel=1e-5)


def test_per_image_is_mean_zero_and_deviation_one() -> None:
    images = normalize(torch.rand(3, 1, 16, 16), how=PER_IMAGE)
    assert images.shape == (3, 1, 16, 16)
    torch.testing.assert_close(images.mean(dim=(1, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std(dim=(1, 2, 3), correction=0), torch.ones(3), atol=1e-2, rtol=0)


def test_another_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose one of per_image, imagenet, half"):
        normalize(torch.rand(1, 1, 2, 2), how="none")
