"""Shapes of the two kinds of lesion, in millimetres, before any sound."""

import numpy as np
import pytest

from core.data.phantom_geometry import Aperture, beam_grid
from core.data.phantom_lesions import Lesion, draw_lesion, paint_lesion
from core.data.phantom_tissue import Motion, Scene

GRID = beam_grid(Aperture(depth_mm=40, width_mm=40), side=128)


def _lesion(key: int, *, malignant: bool) -> Lesion:
    return draw_lesion(np.random.Generator(np.random.Philox(key=key)), malignant=malignant, x=0, z=20, radius_mm=5)


@pytest.mark.parametrize("key", range(8))
def test_the_margin_of_a_benign_lesion_is_nearly_an_ellipse_and_of_a_malignant_one_is_not(key: int) -> None:
    angle = np.linspace(-np.pi, np.pi, 721, dtype=np.float32)
    benign, malignant = (_lesion(key, malignant=value).radius(angle) for value in (False, True))
    assert np.abs(benign - 1).max() <= 0.05  # two waves of at most 0.025
    assert np.ptp(malignant) > 0.2
    assert malignant.min() > 0


@pytest.mark.parametrize("key", range(8))
def test_malignant_is_taller_than_wide_and_benign_wider_than_tall(key: int) -> None:
    benign, malignant = _lesion(key, malignant=False), _lesion(key, malignant=True)
    assert benign.half_height < benign.half_width
    assert malignant.half_height > malignant.half_width
    for lesion in (benign, malignant):  # the area does not give the kind away
        assert lesion.half_height * lesion.half_width == pytest.approx(25)


@pytest.mark.parametrize("malignant", [False, True])
def test_a_lesion_is_darker_than_its_surroundings_and_changes_attenuation_the_way_its_kind_does(
    *, malignant: bool
) -> None:
    scene, lesion = Scene(GRID, Motion()), _lesion(1, malignant=malignant)
    paint_lesion(scene, lesion, frequency_mhz=10)
    core = lesion.distance(scene) < -1.5
    assert scene.echo_db[core].mean() < -8
    assert np.all(scene.alpha[core] > 0.5) if malignant else np.all(scene.alpha[core] < 0.5)
    assert np.array_equal(scene.mask > 0.5, lesion.distance(scene) < 0)


def test_the_shadow_behind_the_middle_is_16_db_at_the_nominal_frequency() -> None:
    """Extra alpha is 16 / (2 * f * height): integrated over the height, there and back, that is 16 dB."""
    scene, lesion = Scene(GRID, Motion()), _lesion(1, malignant=True)
    paint_lesion(scene, lesion, frequency_mhz=10)
    middle = scene.x.shape[1] // 2
    extra_db = 2 * 10 * np.sum(scene.alpha[:, middle] - 0.5) * GRID.axial_step_mm / 10
    assert extra_db == pytest.approx(16, rel=0.35)  # the margin is not a plain ellipse
