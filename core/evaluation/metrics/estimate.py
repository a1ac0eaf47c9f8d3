"""A metric's value with its 95% interval over patients.

Patients are drawn with replacement, all images of one together; `core.evaluation.intervals` says what such an interval
covers. All metrics of a task meet the same draws. A draw in which a metric is not defined counts as minus infinity for
the lower bound and as plus infinity for the upper one, so the interval can only widen; where they are more than 2.5% of
the draws, no interval is given. From one patient there is none either: a bootstrap of one is a point.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.evaluation.intervals import TAIL, patient_draws, percentile_interval
from core.seeding import numpy_generator

# N images, P patients, R draws

DRAWS = 2000
"""Bootstrap samples of the test patients."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A metric with its 95% interval over patients; None and the reason where there is none."""

    value: float | None
    low: float | None
    high: float | None
    reason: str
    """Why there is no value, or no interval; empty where both are there."""
    patients: int
    """Patients whose images the value is of."""


def no_estimate(reason: str) -> Estimate:
    """A value that could not be had."""
    return Estimate(value=None, low=None, high=None, reason=reason, patients=0)


def estimate(value: float, draws_R: NDArray[np.float64], *, patients: int) -> Estimate:
    """A value and its interval.

    Args:
        value: Over all patients.
        draws_R: The same in each draw of patients; NaN where it is not defined.
        patients: How many there are.
    """
    missing = float(np.isnan(draws_R).mean())
    if patients < 2:
        return Estimate(value=value, low=None, high=None, reason="one patient has no interval", patients=patients)
    if missing > TAIL:
        reason = f"the interval has no bounds: not defined in {missing:.1%} of the draws of patients"
        return Estimate(value=value, low=None, high=None, reason=reason, patients=patients)
    _, low, high = percentile_interval(value, draws_R)
    if missing:
        low = float(np.quantile(np.where(np.isnan(draws_R), -np.inf, draws_R), TAIL, method="higher"))
        high = float(np.quantile(np.where(np.isnan(draws_R), np.inf, draws_R), 1 - TAIL, method="lower"))
    return Estimate(value=value, low=low, high=high, reason="", patients=patients)


def draw_counts(patients: int, *, purpose: str, seed: int, draws: int) -> NDArray[np.float64]:
    """How often each patient, by name, stands in each draw: (R, P)."""
    return patient_draws(patients, draws=draws, generator=numpy_generator(seed, purpose))


def means_by_patient(values_N: NDArray[np.floating], patients_N: NDArray[np.str_]) -> dict[str, float]:
    """Patient, by name, to the mean over the images that have a value; NaN is no value."""
    known_N = ~np.isnan(values_N)
    names_P, place_N = np.unique(patients_N[known_N], return_inverse=True)
    sums_P, counts_P = np.zeros((2, len(names_P)))
    np.add.at(sums_P, place_N, values_N[known_N])
    np.add.at(counts_P, place_N, 1)
    return dict(zip(names_P.tolist(), (sums_P / np.maximum(counts_P, 1)).tolist(), strict=True))


def mean_of_patients(by_patient: Mapping[str, float], *, purpose: str, seed: int, draws: int, absent: str) -> Estimate:
    """Mean over patients with its interval; without a patient no value, for the reason `absent`."""
    if not by_patient:
        return no_estimate(absent)
    values_P = np.array([value for _, value in sorted(by_patient.items())])
    counts_RP = draw_counts(len(values_P), purpose=purpose, seed=seed, draws=draws)
    return estimate(float(values_P.mean()), counts_RP @ values_P / len(values_P), patients=len(values_P))
