"""One probe's score over several training seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.evaluation.intervals import patient_draws, percentile_interval
from core.seeding import numpy_generator

DRAWS = 2000
"""Bootstrap samples of the test patients."""


def mean_score(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean over the seeds, without the values by patient.

    One seed keeps its own interval. Several have one over patients, of each patient's mean over the seeds, where the
    score is a mean over patients (`by_patient`); else none. It says nothing of another seed.

    Args:
        scores: One a seed: mean, low, high, reason and what else the probe tells; `by_patient` (patient to value) where
            the score is a mean over patients.
    """
    first = {key: value for key, value in scores[0].items() if key != "by_patient"}
    if len(scores) == 1:
        return first
    if any(score["mean"] is None for score in scores):
        reason = next(score["reason"] for score in scores if score["mean"] is None)
        return {**first, "mean": None, "low": None, "high": None, "reason": reason}
    mean = float(np.mean([score["mean"] for score in scores]))
    if right := [score["empty_right"] for score in scores if score.get("empty_right") is not None]:
        first["empty_right"] = float(np.mean(right))
    values = [score.get("by_patient") for score in scores]
    if not all(one and all(isinstance(value, int | float) for value in one.values()) for one in values):
        return {**first, "mean": mean, "low": None, "high": None, "reason": "several seeds: no interval, see by_seed"}
    patients = sorted(values[0] or {})
    mean_P = np.mean([[one[patient] for patient in patients] for one in values if one], axis=0)
    counts_RP = patient_draws(len(patients), draws=DRAWS, generator=numpy_generator(0, "scores"))
    _, low, high = percentile_interval(mean, counts_RP @ mean_P / len(patients))
    return {**first, "mean": mean, "low": low, "high": high, "reason": ""}
