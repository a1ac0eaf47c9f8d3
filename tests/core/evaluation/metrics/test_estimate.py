"""Values with intervals over patients, on numbers that fit in the head."""

import numpy as np
import pytest

from core.evaluation.metrics.estimate import (
    Estimate,
    draw_counts,
    estimate,
    mean_of_patients,
    means_by_patient,
    no_estimate,
)


def test_images_are_averaged_by_patient_and_nan_is_no_image() -> None:
    values = np.array([1.0, 0.0, np.nan, 0.5, np.nan])
    assert means_by_patient(values, np.array(["b", "b", "b", "a", "c"])) == {"a": 0.5, "b": 0.5}
    assert means_by_patient(np.zeros(0), np.zeros(0, np.str_)) == {}


def test_a_mean_over_patients_has_the_interval_of_its_draws() -> None:
    found = mean_of_patients({"b": 1.0, "a": 0.0}, purpose="x", seed=0, draws=2000, absent="")
    # a draw is (a, a), (a, b) or (b, b), with chances 1/4, 1/2, 1/4
    assert found == Estimate(value=0.5, low=0.0, high=1.0, reason="", patients=2)


def test_the_order_of_patients_does_not_matter_and_the_seed_does() -> None:
    values = {f"p{number}": number**2 / 100 for number in range(12)}
    backwards = dict(reversed(values.items()))
    one, other = (mean_of_patients(v, purpose="x", seed=0, draws=50, absent="") for v in (values, backwards))
    assert one == other
    assert mean_of_patients(values, purpose="x", seed=1, draws=50, absent="") != one
    assert draw_counts(3, purpose="x", seed=0, draws=4).sum(axis=1).tolist() == [3] * 4


def test_without_patients_there_is_a_reason_and_of_one_no_interval() -> None:
    assert mean_of_patients({}, purpose="x", seed=0, draws=9, absent="nobody came") == no_estimate("nobody came")
    assert mean_of_patients({"a": 0.5}, purpose="x", seed=0, draws=9, absent="") == Estimate(
        value=0.5, low=None, high=None, reason="one patient has no interval", patients=1
    )


def test_undefined_draws_widen_an_interval_until_it_has_no_bounds() -> None:
    draws = np.arange(1.0, 201.0)
    plain = estimate(100.0, draws, patients=9)
    assert (plain.low, plain.high) == pytest.approx((1 + 0.025 * 199, 1 + 0.975 * 199))
    draws[:4] = np.nan  # 2%: as the lowest 4 and as the highest 4 of 200
    some = estimate(100.0, draws, patients=9)
    # position 0.025 * 199 = 4.98, the next higher is the fifth from 0: nan nan nan nan 5 6
    assert some.low == 6
    # 194.02 of 5 ... 200 followed by four without end, the next lower: 5 + 194
    assert some.high == 199
    draws[:6] = np.nan  # 3%
    none = estimate(100.0, draws, patients=9)
    assert (none.value, none.low, none.high) == (100, None, None)
    assert none.reason == "the interval has no bounds: not defined in 3.0% of the draws of patients"
