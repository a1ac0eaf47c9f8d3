"""Rings: disjoint, centre kept, scaled with the side; the filter is real and exact."""

import math

import numpy as np
import pytest
import torch

from core.objectives.frequency import band_stop, ring_bank, ring_masks, ring_radii

RADII = ring_radii(centre=10 / 224, growth=1.5, max_step=20 / 224)
SIDES = [16, 33, 64, 96, 105, 224]


def _full_radius(side: int) -> np.ndarray:
    """|f| in cycles an image, on the full spectrum in `fft2`'s layout, from whole numbers."""
    line = np.array([index if index <= side // 2 else index - side for index in range(side)], dtype=float)
    return np.hypot(line[:, None], line[None, :])


def test_default_radii_at_224_pixels() -> None:
    # Each 1.5 times the last until the step would exceed 20 pixels; 110.6 + 20 would leave the half-width of 112.
    expected = [10, 15, 22.5, 33.75, 50.625, 70.625, 90.625, 110.625]
    assert [radius * 224 for radius in RADII] == pytest.approx(expected)


@pytest.mark.parametrize("side", SIDES)
def test_rings_are_disjoint_and_spare_the_centre_and_the_corners(side: int) -> None:
    rings = ring_masks(side=side, radii=RADII)
    radius = _full_radius(side)[:, : side // 2 + 1]
    assert rings.shape[1:] == (side, side // 2 + 1)
    assert int(rings.sum(dim=0).max()) == 1
    covered = rings.any(dim=0).numpy()
    assert not covered[radius <= side * 10 / 224 - 1e-9].any()
    assert not covered[0, 0]
    assert not covered[radius > side / 2].any()
    between = (radius > side * RADII[0] + 1e-9) & (radius < side * RADII[-1] - 1e-9)
    assert covered[between].all()


@pytest.mark.parametrize("side", [32, 64, 96, 224, 225])
def test_there_are_at_least_four_rings_that_widen(side: int) -> None:
    rings = ring_masks(side=side, radii=RADII)
    assert len(rings) >= 4
    assert (side >= 64) <= (len(rings) == 7)
    sizes = rings.sum(dim=(1, 2)).tolist()
    assert sizes == sorted(sizes)


def test_a_ring_without_a_frequency_is_left_out() -> None:
    rings = ring_masks(side=8, radii=RADII)
    assert len(rings) < 7
    assert rings.any(dim=(1, 2)).all()


def test_the_bank_holds_every_choice_when_they_are_few() -> None:
    rings = ring_masks(side=64, radii=RADII)
    bank = ring_bank(rings, ratio=0.3, size=64)
    assert len(bank) == math.comb(7, 2)  # int(0.3 * 7) = 2 rings stopped
    assert len(bank.unique(dim=0)) == 21
    assert torch.equal(bank[0], rings[0] | rings[1])
    assert torch.equal(bank[-1], rings[5] | rings[6])


def test_a_full_bank_is_distinct_whole_rings_and_the_same_again() -> None:
    rings = ring_masks(side=64, radii=ring_radii(centre=0.05, growth=1.2, max_step=0.02))
    assert math.comb(len(rings), int(0.3 * len(rings))) > 16
    bank = ring_bank(rings, ratio=0.3, size=16)
    assert bank.shape == (16, 64, 33)
    assert len(bank.unique(dim=0)) == 16
    assert torch.equal(bank, ring_bank(rings, ratio=0.3, size=16))
    for mask in bank:
        stopped = sum(bool((mask & ring).any()) for ring in rings)
        assert stopped == sum(torch.equal(mask & ring, ring) for ring in rings) == int(0.3 * len(rings))


def test_a_small_ratio_still_stops_one_ring() -> None:
    rings = ring_masks(side=64, radii=RADII)
    assert torch.equal(ring_bank(rings, ratio=0.01, size=64), rings)


@pytest.mark.parametrize("side", SIDES)
def test_the_filter_equals_a_full_double_precision_transform(side: int) -> None:
    rings = ring_masks(side=side, radii=RADII)
    images = torch.rand(3, side, side, generator=torch.Generator().manual_seed(side))
    stopped = rings[[0, len(rings) // 2, -1]]
    filtered = band_stop(images, passed_BSF=(~stopped).float())
    radius = _full_radius(side)
    for image, out, half in zip(images, filtered, stopped, strict=True):
        # The full mask from the half one: a frequency and its negative are treated alike.
        lengths = np.unique(np.round(radius[:, : side // 2 + 1][half.numpy()], 9))
        full = np.isin(np.round(radius, 9), lengths)
        expected = np.fft.ifft2(np.where(full, 0, np.fft.fft2(image.numpy().astype(np.float64))))
        assert np.abs(expected.imag).max() < 1e-12
        assert np.abs(out.numpy() - expected.real).max() < 1e-5
        assert out.dtype == torch.float32
    torch.testing.assert_close(filtered.mean(dim=(1, 2)), images.mean(dim=(1, 2)))


def test_negative_values_stay_negative() -> None:
    images = torch.randn(1, 32, 32)
    stopped = ring_masks(side=32, radii=RADII)[:1]
    out = band_stop(images, passed_BSF=(~stopped).float())
    torch.testing.assert_close(band_stop(-images, passed_BSF=(~stopped).float()), -out)
    assert out.min() < 0
