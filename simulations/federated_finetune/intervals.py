"""Dice of the arms and their differences with 95% intervals, paired over test patients and training seeds.

A draw takes the same patients and seeds for every arm (`core.evaluation.intervals`, which says what such an interval
covers). The mean hospital alone is, patient by patient, the mean over the hospitals' own models.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from core.evaluation.intervals import Interval, difference

ByPatient = Mapping[str, float]
"""Patient -> Dice."""
_ALL = "all"
"""One stratum: the patients of a task are drawn together."""


def mean_dice(by_seed: Sequence[ByPatient], *, seed: int, draws: int) -> Interval:
    """Mean over seeds and patients, with its interval: the difference from an arm whose Dice is 0 everywhere."""
    return dice_difference(by_seed, [dict.fromkeys(own, 0.0) for own in by_seed], seed=seed, draws=draws)


def dice_difference(
    first_by_seed: Sequence[ByPatient], second_by_seed: Sequence[ByPatient], *, seed: int, draws: int
) -> Interval:
    """Mean Dice of the first arm minus that of the second; above 0 the first is better.

    Args:
        first_by_seed: Dice of each test patient, for each training seed.
        second_by_seed: Another arm's, for the same seeds and patients.
        seed: Seed of the bootstrap.
        draws: Bootstrap samples, >= 1.

    Raises:
        DataError: The arms have other seeds or patients, or none.
    """
    first, second = ([_strata(own) for own in arm] for arm in (first_by_seed, second_by_seed))
    return difference(first, second, mix={_ALL: 1.0}, seed=seed, draws=draws)


def mean_hospital(by_hospital: Sequence[ByPatient]) -> dict[str, float]:
    """Patient by patient the mean over the hospitals' own models."""
    return {patient: float(np.mean([own[patient] for own in by_hospital])) for patient in by_hospital[0]}


def _strata(dice: ByPatient) -> dict[str, tuple[str, float]]:
    return {patient: (_ALL, value) for patient, value in dice.items()}
