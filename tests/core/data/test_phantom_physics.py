"""Speckle, attenuation, gain and compression, against numbers worked out by hand."""

import numpy as np
import pytest

from core.data.phantom_geometry import MARGIN_LINES, Aperture, beam_grid
from core.data.phantom_physics import (
    RAYLEIGH_SNR,
    PointSpread,
    attenuation_db,
    contact_db,
    detect,
    echo,
    log_compress,
    point_spread,
    time_gain_db,
)

LINEAR = beam_grid(Aperture(depth_mm=40, width_mm=40), side=128)
CURVED = beam_grid(Aperture(depth_mm=140, radius_mm=50, sector_degrees=64), side=128)
PROBE = {"frequency_mhz": 10.0, "cycles": 2.0, "f_number": 2.2, "focus_mm": 20.0, "focal_zone_mm": 10.0}


def _generator() -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=7))


def _envelope(psf: PointSpread, *, looks: int = 1, shape: tuple[int, int] = (256, 512)) -> np.ndarray:
    one, none, generator = np.ones(shape, np.float32), np.zeros(shape, np.float32), _generator()
    return detect([echo(one, none, psf, generator) for _ in range(looks)], one, none)


def test_uniform_tissue_gives_fully_developed_rayleigh_speckle() -> None:
    """Wagner et al. 1983: mean over standard deviation is sqrt(pi / (4 - pi)) = 1.913; mean power stays 1."""
    envelope = _envelope(PointSpread(1.0, np.linspace(0.8, 2.0, 256, dtype=np.float32)))
    assert pytest.approx(1.913, abs=1e-3) == RAYLEIGH_SNR
    assert envelope.mean() / envelope.std() == pytest.approx(RAYLEIGH_SNR, abs=0.03)
    assert np.mean(envelope**2) == pytest.approx(1.0, abs=0.02)
    # The Rayleigh distribution's median is sqrt(ln 2) of its root mean square.
    assert np.median(envelope) == pytest.approx(np.sqrt(np.log(2)), abs=0.02)


def test_more_looks_smooth_the_speckle() -> None:
    """Two looks of power: 4 degrees of freedom, mean/std = m / sqrt(2 - m^2), m = Gamma(5/2) / Gamma(2) = 1.3293."""
    envelope = _envelope(PointSpread(1.0, np.full(256, 1.0, np.float32)), looks=2)
    assert envelope.mean() / envelope.std() == pytest.approx(1.3293 / np.sqrt(2 - 1.3293**2), abs=0.05)


def test_an_interface_is_spread_by_the_lateral_width_of_its_depth() -> None:
    """A point far from the focus is wider than one at the focus, by the ratio of the point-spread function's widths."""
    points = np.zeros((256, 144), np.float32)
    points[[64, 192], 72] = 1
    lateral = np.full(256, 2.0, np.float32)
    lateral[128:] = 4.0
    received = np.abs(echo(np.zeros_like(points), points, PointSpread(1.0, lateral), _generator()))
    columns = np.arange(144) - 72
    widths = [np.sqrt(np.sum(received[row] * columns**2) / np.sum(received[row])) for row in (64, 192)]
    assert widths == pytest.approx([2.0, 4.0], rel=1e-2)


def test_the_point_spread_function_is_narrowest_at_the_focus_and_follows_the_wavelength() -> None:
    psf = point_spread(LINEAR, **PROBE)
    # F-number 2.2 at 0.154 mm: FWHM 0.3388 mm, sigma 0.1439 mm, lines every 40 / 128 = 0.3125 mm: 0.46 samples,
    # below what the grid carries, so 0.6.
    assert psf.lateral.min() == pytest.approx(0.6)
    low = point_spread(LINEAR, **(PROBE | {"frequency_mhz": 2.5}))
    assert abs(LINEAR.range_mm[low.lateral.argmin(), 0] - 20) < 0.2
    # At 2.5 MHz 4 times wider: 1.842 samples; axial: 2 cycles * 0.616 mm / 2 / 2.355 / (40 / 256 mm) = 1.674.
    assert low.lateral.min() == pytest.approx(1.842, abs=2e-3)
    assert low.axial == pytest.approx(1.674, abs=1e-3)


def test_attenuation_is_twice_the_path_times_frequency() -> None:
    """0.5 dB/cm/MHz, 10 MHz, 4 cm there and back: 0.5 * 10 * 8 = 40 dB at the bottom."""
    alpha = np.full((256, 3), 0.5, np.float32)
    alpha[:128, 1] = 0.0  # fluid in the upper half: 20 dB less, all the way down
    alpha[64:128, 2] = 1.5  # a dense centimetre: 1.0 * 10 * 2 = 20 dB more behind it
    loss = attenuation_db(alpha, axial_step_mm=40 / 256, frequency_mhz=10)
    assert loss[-1] == pytest.approx([40, 20, 60], rel=1e-4)
    assert loss[63, 0] == pytest.approx(loss[63, 2])


def test_time_gain_undoes_the_attenuation_of_even_tissue_up_to_the_limit() -> None:
    depth = np.array([0.0, 10.0, 40.0, 90.0], np.float32)
    gain = time_gain_db(depth, alpha=0.5, frequency_mhz=10, limit_db=60)
    assert gain == pytest.approx([0, 10, 40, 60])  # the last would be 90


def test_noise_is_what_is_left_where_no_echo_comes_from() -> None:
    silence = [np.zeros((4, 4), np.complex64)]
    envelope = detect(silence, np.ones((4, 4), np.float32), np.full((4, 4), 0.01, np.float32))
    assert envelope == pytest.approx(np.full((4, 4), 0.01))


def test_log_compression_places_one_at_045_of_the_range_and_clips() -> None:
    """60 dB: amplitude 10 is 20 dB, 0.45 + 20 / 60 = 0.7833; 60 dB down and up are black and white."""
    envelope = np.array([[1, 10, 1e-3, 1e3]], np.float32)
    grey = log_compress(envelope, dynamic_range_db=60, gain_db=0, gamma=1)
    assert grey == pytest.approx(np.array([[0.45, 0.78333, 0, 1]]), abs=1e-4)
    assert log_compress(envelope, dynamic_range_db=60, gain_db=6, gamma=2)[0, 0] == pytest.approx(0.55**2, abs=1e-4)


def test_bad_contact_only_takes_away() -> None:
    gain = contact_db(144, _generator(), height_db=1.5)
    assert gain.shape == (1, 144)
    assert gain.max() <= 0
    assert gain.min() < 0


def test_the_curved_grid_spreads_its_lines_with_depth() -> None:
    """Line spacing is (radius + depth) * angle / lines: at 140 mm (50 + 140) / 50 = 3.8 times that at the face."""
    assert CURVED.line_step_mm[-1] / CURVED.line_step_mm[0] == pytest.approx(3.8, rel=0.01)
    assert CURVED.x.shape == (256, 128 + 2 * MARGIN_LINES)
