"""Linear and curved fields of view, and the way from the beam grid to the picture."""

import numpy as np
import pytest

from core.data.phantom_geometry import Aperture, beam_grid, scan_converter
from core.errors import ConfigError

SQUARE = Aperture(depth_mm=40, width_mm=40)
NARROW = Aperture(depth_mm=40, width_mm=20)
FAN = Aperture(depth_mm=140, radius_mm=50, sector_degrees=64)


def test_a_linear_field_as_wide_as_deep_fills_the_picture() -> None:
    ones = np.ones_like(beam_grid(SQUARE, side=64).x)
    assert scan_converter(SQUARE, side=64)(ones) == pytest.approx(np.ones((64, 64)))


def test_a_linear_field_half_as_wide_leaves_black_bars() -> None:
    image = scan_converter(NARROW, side=64)(np.ones_like(beam_grid(NARROW, side=64).x))
    assert image[:, 16:48] == pytest.approx(np.ones((64, 32)))
    assert not image[:, :16].any()
    assert not image[:, 48:].any()


def test_a_fan_is_black_in_the_upper_corners_and_below_its_arc() -> None:
    image = scan_converter(FAN, side=64)(np.ones_like(beam_grid(FAN, side=64).x))
    assert image[32, 32] == pytest.approx(1)
    assert not image[:12, :8].any()
    assert not image[:12, -8:].any()
    assert not image[-1].any()
    assert image[-8, 32] == pytest.approx(1)  # the arc is lowest in the middle
    assert not image[-8:, 0].any()
    assert 0.3 < np.mean(image > 0) < 0.8
    assert np.array_equal(image > 0, image[:, ::-1] > 0)


@pytest.mark.parametrize("aperture", [SQUARE, NARROW, FAN])
def test_positions_survive_the_conversion(aperture: Aperture) -> None:
    """Converting the grid's own coordinates gives, inside the field, evenly spaced ones: square pixels."""
    grid, convert = beam_grid(aperture, side=64), scan_converter(aperture, side=64)
    inside = convert(np.ones_like(grid.x)) > 0
    x, z = convert(np.array(grid.x)), convert(np.array(grid.z))
    across = np.diff(x, axis=1)[inside[:, 1:] & inside[:, :-1]]
    down = np.diff(z, axis=0)[inside[1:] & inside[:-1]]
    assert np.median(across) == pytest.approx(np.median(down), rel=1e-3)
    assert np.std(across) < 0.05 * np.median(across)


def test_every_field_out_of_range_is_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        Aperture(depth_mm=0)
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match="sector_degrees"):
        Aperture(depth_mm=100, radius_mm=50, sector_degrees=180)
