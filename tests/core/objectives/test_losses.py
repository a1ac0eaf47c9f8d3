"""The losses, against arithmetic on the full spectrum."""

import numpy as np
import pytest
import torch

from core.objectives.losses import focal_frequency, l1_frequency, masked_l1


def test_l1_counts_masked_pixels_of_each_image() -> None:
    difference = torch.tensor([[[1.0, -2.0], [3.0, -4.0]], [[5.0, 0.0], [0.0, 7.0]]])
    mask = torch.tensor([[[True, True], [False, False]], [[True, False], [False, False]]])
    assert masked_l1(difference, mask).tolist() == [(1 + 2) / 2, 5 / 1]
    assert masked_l1(difference, None).tolist() == [(1 + 2 + 3 + 4) / 4, (5 + 7) / 4]


@pytest.mark.parametrize("side", [6, 7, 16])
def test_frequency_losses_equal_the_full_spectrum_in_double_precision(side: int) -> None:
    difference = torch.randn(3, side, side, generator=torch.Generator().manual_seed(0))
    modulus = np.abs(np.fft.fft2(difference.numpy().astype(np.float64), norm="ortho"))
    weight = modulus / modulus.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(focal_frequency(difference), (weight * modulus**2).mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(l1_frequency(difference), modulus.mean(axis=(1, 2)), rtol=1e-5)


def test_one_wave_costs_its_power_alone() -> None:
    # cos(2 pi x / 4) on 4 x 4: two frequencies of modulus 2 (16 / 2 / 4), both of weight 1, of 16: 2 * 4 / 16.
    wave = torch.tensor([1.0, 0.0, -1.0, 0.0]).expand(1, 4, 4)
    assert focal_frequency(wave).item() == pytest.approx(2 * 2**2 / 16)
    assert l1_frequency(wave).item() == pytest.approx(2 * 2 / 16)


def test_no_gradient_flows_through_the_focal_weight() -> None:
    difference = torch.randn(1, 8, 8, dtype=torch.float32, requires_grad=True)
    focal_frequency(difference).sum().backward()
    spectrum = torch.fft.fft2(difference.detach(), norm="ortho")
    weight = spectrum.abs() / spectrum.abs().max()
    # d/dx of mean w |D|^2 with w fixed is 2 / S^2 times the inverse transform of w D.
    expected = 2 / 64 * torch.fft.ifft2(weight * spectrum, norm="ortho").real
    torch.testing.assert_close(difference.grad, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", [focal_frequency, l1_frequency])
def test_a_perfect_image_costs_nothing_and_has_a_finite_gradient(loss: object) -> None:
    assert callable(loss)
    difference = torch.zeros(2, 8, 8, requires_grad=True)
    value = loss(difference)
    value.sum().backward()
    assert value.tolist() == [0.0, 0.0]
    assert difference.grad is not None
    assert torch.isfinite(difference.grad).all()
