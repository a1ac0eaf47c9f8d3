"""The canvas: noise, fills, interfaces and motion."""

import numpy as np
import pytest

from core.data.phantom_geometry import Aperture, beam_grid
from core.data.phantom_tissue import Motion, Scene, draw_noise, inside, ridges

GRID = beam_grid(Aperture(depth_mm=40, width_mm=40), side=64)


def _generator() -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=3))


def test_noise_is_standardised_and_repeats_where_it_is_read_again() -> None:
    noise = draw_noise(_generator())
    x, z = np.meshgrid(*2 * [np.linspace(0, 170, 600, dtype=np.float32)])  # about ten periods of 256 / 15 mm
    values = noise(x, z, along_mm=1, across_mm=1)
    assert values.mean() == pytest.approx(0, abs=0.05)
    assert values.std() == pytest.approx(1, abs=0.05)
    assert np.array_equal(values, noise(x, z, along_mm=1, across_mm=1))


def test_noise_is_continuous_in_the_position() -> None:
    noise, x = draw_noise(_generator()), np.linspace(-50, 50, 10_001, dtype=np.float32)  # steps of 0.01 mm
    assert np.abs(np.diff(noise(x, x, along_mm=5, across_mm=5))).max() < 0.05


def test_inside_is_one_half_on_the_edge() -> None:
    assert inside(np.array([-1, 0, 0.1, 1], np.float32), soft_mm=0.4) == pytest.approx([1, 0.5, 0.25, 0])


def test_ridges_are_one_on_the_zeros() -> None:
    assert ridges(np.array([0, 0.2, -0.2, 2], np.float32), width=0.2) == pytest.approx([1, np.exp(-1), np.exp(-1), 0])


def test_a_fill_replaces_tissue_and_what_reflected_in_it() -> None:
    scene = Scene(GRID, Motion())
    scene.specular += 1
    scene.fill(np.full_like(scene.x, 0.25), echo_db=-8.0, alpha=0.1)
    assert scene.echo_db[0, 0] == pytest.approx(-2)  # 0 + (-8 - 0) / 4
    assert scene.alpha[0, 0] == pytest.approx(0.4)  # 0.5 + (0.1 - 0.5) / 4
    assert scene.specular[0, 0] == pytest.approx(0.75)


def test_an_interface_across_the_beam_is_brighter_than_one_along_it() -> None:
    scene = Scene(GRID, Motion())
    scene.surface(scene.z - np.float32(20), amplitude=1.0, thickness_mm=0.5)
    across = scene.specular.max()
    scene = Scene(GRID, Motion())
    scene.surface(np.array(scene.x), amplitude=1.0, thickness_mm=0.5)
    along = scene.specular.max()
    assert across == pytest.approx(1, abs=0.1)
    # 0.12 of it along the beam, and the nearest line is half a step (0.3125 mm) away: 0.12 * exp(-0.625^2) = 0.0812.
    assert along == pytest.approx(0.0812, abs=1e-3)


def test_a_moved_probe_sees_the_same_patient_shifted_by_whole_lines() -> None:
    """Lines every 40 / 64 mm: a shift by two lines moves the picture by two columns."""
    still, moved = Scene(GRID, Motion()), Scene(GRID, Motion(shift_mm=2 * 40 / 64))
    assert moved.x[:, :-2] == pytest.approx(still.x[:, 2:], abs=1e-4)
    assert np.array_equal(moved.z, still.z)


def test_warping_leaves_the_skin_in_place() -> None:
    scene = Scene(GRID, Motion())
    before = scene.z.copy()
    scene.warp(draw_noise(_generator()), size_mm=10, height_mm=1)
    assert np.abs(scene.z - before)[0].max() < 0.2
    assert np.abs(scene.z - before)[64:].max() > 0.5
