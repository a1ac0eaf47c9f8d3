"""PSNR and SSIM of restored images, and what they gain over the degraded ones."""

import math

import numpy as np
import pytest

from core.errors import DataError
from core.evaluation.metrics.enhancement import CAP, score_enhancement, similarities
from core.evaluation.metrics.score import TaskScore


def flat(*greys: float, side: int = 16) -> np.ndarray:
    return np.stack([np.full((side, side), grey, np.float32) for grey in greys])


def noisy(count: int, *, noise: float, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    clean = rng.uniform(0.2, 0.8, (count, side, side)).astype(np.float32)
    return clean, (clean + noise * rng.uniform(-1, 1, clean.shape)).clip(0, 1).astype(np.float32)


def score(restored: np.ndarray, clean: np.ndarray, degraded: np.ndarray, patients: str) -> TaskScore:
    return score_enhancement(
        restored, clean, np.array(list(patients), np.str_), degraded_NSS=degraded, seed=0, draws=50
    )


def test_psnr_by_hand_by_patient_and_its_gain() -> None:
    # errors 0.1 and 0.2 for a, 0.05 for b; degraded 0.4 everywhere
    found = score(flat(0.6, 0.7, 0.55), flat(0.5, 0.5, 0.5), flat(0.9, 0.9, 0.9), "aab")
    a = (-20 * math.log10(0.1) - 20 * math.log10(0.2)) / 2
    b = -20 * math.log10(0.05)
    assert found.by_patient == pytest.approx({"a": a, "b": b}, rel=1e-5)
    assert found.metrics["psnr"].value == pytest.approx((a + b) / 2, rel=1e-5)
    assert found.metrics["psnr_degraded"].value == pytest.approx(-20 * math.log10(0.4), rel=1e-5)
    assert found.metrics["psnr_gain"].value == pytest.approx((a + b) / 2 + 20 * math.log10(0.4), rel=1e-5)
    assert found.counts == {"images": 3, "patients": 2, "psnr_capped": 0}


def test_ssim_of_flat_images_is_its_term_of_brightness() -> None:
    # without contrast (2 x y + c) / (x^2 + y^2 + c) with c = 0.01^2 remains (Wang et al., equation 6)
    _, ssim = similarities(flat(0.6), flat(0.5))
    assert ssim[0] == pytest.approx((2 * 0.6 * 0.5 + 1e-4) / (0.6**2 + 0.5**2 + 1e-4), abs=3e-4)


def test_an_exact_restoration_is_capped_and_counted_and_doing_nothing_gains_nothing() -> None:
    clean, degraded = noisy(4, noise=0.2)
    exact = score(clean, clean, degraded, "abcd")
    assert exact.metrics["psnr"].value == CAP
    assert exact.metrics["ssim"].value == pytest.approx(1, abs=1e-5)
    assert exact.counts["psnr_capped"] == 4
    idle = score(degraded, clean, degraded, "abcd")
    assert idle.metrics["psnr_gain"].value == 0
    assert idle.metrics["ssim_gain"].value == 0


def test_less_noise_is_a_gain_in_both() -> None:
    clean, degraded = noisy(4, noise=0.2)
    found = score((clean + degraded) / 2, clean, degraded, "abcd").metrics
    # half the error is a quarter of its square
    assert found["psnr_gain"].value == pytest.approx(10 * math.log10(4), abs=1e-3)
    assert found["ssim_gain"].low is not None
    assert found["ssim_gain"].low > 0


@pytest.mark.parametrize("side", [3, 4, 7, 10, 11, 12])
def test_small_images_have_a_window_that_fits(side: int) -> None:
    clean, degraded = noisy(2, noise=0.2, side=side)
    _, ssim = similarities(degraded, clean)
    assert ((ssim > 0) & (ssim < 1)).all()


def test_many_images_are_compared_as_few_are() -> None:
    clean, degraded = noisy(40, noise=0.2)
    whole, last = similarities(degraded, clean), similarities(degraded[-3:], clean[-3:])
    assert whole[0][-3:] == pytest.approx(last[0], rel=1e-5)
    assert whole[1][-3:] == pytest.approx(last[1], rel=1e-4)


def test_without_an_image_there_is_a_reason() -> None:
    nothing = np.zeros((0, 8, 8), np.float32)
    assert {one.reason for one in score(nothing, nothing, nothing, "").metrics.values()} == {"no test image"}


def test_what_cannot_be_scored_is_refused() -> None:
    clean = flat(0.5)
    with pytest.raises(DataError, match="do not belong together"):
        score(clean, clean, flat(0.5, 0.5), "a")
    with pytest.raises(DataError, match="SSIM needs 3 x 3"):
        score(flat(0.5, side=2), flat(0.5, side=2), flat(0.5, side=2), "a")
    for bad in (1.5, -0.1, np.nan):
        with pytest.raises(DataError, match="restored images hold values outside 0 to 1"):
            score(flat(bad), clean, clean, "a")
