"""How much of what pooled pretraining gains on the tasks a federation keeps.

    gain kept = sum over tasks (federated - random) / sum over tasks (centralized - random)

with a task's score after federated pretraining, after pretraining on the pooled images, and from random weights: 1
where federation gains as much as pooling, 0 where it gains nothing. Tasks are named before the run, and none is left
out afterwards. Scores come by patient, so that patients can be drawn: Dice is the mean of patients, balanced accuracy
the mean over classes of right / total.

The interval draws, with replacement, test patients (the same for every arm, and for every task that scores them),
training seeds (the same for both trained arms and all tasks) and random initializations. What it does not cover, and
how little two or three seeds tell, `core.evaluation.intervals` says.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from core.evaluation.intervals import TAIL, Gap, patient_draws, ratio_interval, recall_in_draws
from core.seeding import numpy_generator

# P patients, C classes, 2 right and total, S trainings of one arm, R draws

PatientScore = float | Sequence[Sequence[float]]
"""A patient's Dice, or (right, total) for each class."""

ByPatient = Mapping[str, PatientScore]
"""Patient -> score: `by_patient` of a probe."""

ByTask = Mapping[str, Sequence[ByPatient]]
"""Task -> the scores of each training seed, or of each random initialization, in one order for all tasks."""


def gain_kept(
    federated: ByTask,
    centralized: ByTask,
    random_init: ByTask,
    *,
    tasks: Sequence[str],
    seed: int,
    draws: int = 2000,
) -> Gap:
    """The share of the pooled gain that the federation keeps, with its 95% interval.

    Args:
        federated: Scores after federated pretraining, by training seed.
        centralized: Scores after pooled pretraining, by the same seeds in the same order.
        random_init: Scores of the untrained encoder, by initialization.
        tasks: The tasks that were listed beforehand.
        seed: Seed of the bootstrap.
        draws: Bootstrap samples, >= 1.

    Returns:
        The share. Its value is None, with the reason, unless the pooled gain is shown: the lower bound of its own 95%
        interval must exceed 0. It is None too where a task has no score in an arm.

    Raises:
        DataError: No task, arms with different numbers of seeds, or a task scored on different patients or classes.
    """
    arms = {"federated": federated, "centralized": centralized, "random_init": random_init}
    if reason := _missing(arms, tasks):
        return Gap(value=None, low=None, high=None, reason=reason)
    seeds, starts = _counts(federated, centralized, random_init, tasks=tasks)
    trained_RS = patient_draws(seeds, draws=draws, generator=numpy_generator(seed, "training seeds"))
    started_RS = patient_draws(starts, draws=draws, generator=numpy_generator(seed, "initializations"))
    drawn_of = patients_in_draws({task: federated[task][0] for task in tasks}, draws=draws, seed=seed)
    gains, gains_R = np.zeros(2), np.zeros((2, draws))  # federated, centralized
    for task in sorted(tasks):
        sums = [_sums(arm[task], task=task, like=federated[task][0]) for arm in arms.values()]
        counts_RP = np.stack([drawn_of[patient] for patient in sorted(federated[task][0])], axis=1)
        means = [_mean(sums_SPC2) for sums_SPC2 in sums]
        weights = (trained_RS, trained_RS, started_RS)
        drawn = [_drawn(sums_SPC2, counts_RP, own_RS) for sums_SPC2, own_RS in zip(sums, weights, strict=True)]
        gains += [means[0] - means[2], means[1] - means[2]]
        gains_R += [drawn[0] - drawn[2], drawn[1] - drawn[2]]
    low = float(np.quantile(gains_R[1], TAIL))
    if gains[1] <= 0 or low <= 0:
        reason = (
            f"pooled pretraining was not shown to gain on these tasks (sum of gains {gains[1]:.4f}, lower 95% bound "
            f"{low:.4f}), so there is no gain to keep"
        )
        return Gap(value=None, low=None, high=None, reason=reason)
    return ratio_interval(float(gains[0] / gains[1]), gains_R[0], gains_R[1], undefined="pooling gained nothing")


def patients_in_draws(patients: Mapping[str, ByPatient], *, draws: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """How often each patient stands in each draw, (R,), the same in every task that scores the patient.

    Drawn among the patients of the very same tasks, so that every task keeps its number of patients.
    """
    together: dict[tuple[str, ...], list[str]] = {}
    for patient in sorted({patient for scored in patients.values() for patient in scored}):
        together.setdefault(tuple(task for task in sorted(patients) if patient in patients[task]), []).append(patient)
    drawn: dict[str, NDArray[np.float64]] = {}
    for tasks, members in together.items():
        counts_RP = patient_draws(len(members), draws=draws, generator=numpy_generator(seed, "gain", *tasks))
        drawn |= dict(zip(members, counts_RP.T, strict=True))
    return drawn


def _missing(arms: Mapping[str, ByTask], tasks: Sequence[str]) -> str:
    """Which task has no score in which arm, or nothing."""
    if not tasks:
        raise DataError("gain kept: no task was listed")
    found = [f"{task} has no score in {name}" for task in tasks for name, arm in arms.items()
             if not arm.get(task) or not all(arm[task])]  # fmt: skip
    return "; ".join(found)


def _counts(federated: ByTask, centralized: ByTask, random_init: ByTask, *, tasks: Sequence[str]) -> tuple[int, int]:
    """The number of training seeds and of initializations, the same for all tasks."""
    trained = {len(arm[task]) for arm in (federated, centralized) for task in tasks}
    started = {len(random_init[task]) for task in tasks}
    if len(trained) > 1 or len(started) > 1:
        raise DataError(
            f"gain kept: tasks and arms have {sorted(trained)} training seeds and {sorted(started)} initializations; "
            "give the same seeds for every task of both trained arms"
        )
    return trained.pop(), started.pop()


def _sums(runs: Sequence[ByPatient], *, task: str, like: ByPatient) -> NDArray[np.float64]:
    """(right, total) of each run, patient (by name) and class: (S, P, C, 2); a Dice is (Dice, 1) of one class."""
    if any(set(run) != set(like) for run in runs):
        raise DataError(
            f"gain kept: {task} is scored on different patients; fix the test patients in the manifest's split column"
        )
    rows = [[run[patient] for patient in sorted(like)] for run in runs]
    pairs = [[[(score, 1.0)] if isinstance(score, int | float) else score for score in row] for row in rows]
    if len({len(score) for row in pairs for score in row}) > 1:
        raise DataError(f"gain kept: {task} is scored with different numbers of classes")
    sums_SPC2 = np.array(pairs, dtype=np.float64)
    if not np.isfinite(sums_SPC2).all():
        raise DataError(f"gain kept: a score of {task} is not finite")
    return sums_SPC2


def _mean(sums_SPC2: NDArray[np.float64]) -> float:
    """Score of each run over all patients, mean over runs."""
    ones = np.ones((1, sums_SPC2.shape[1])), np.ones((1, len(sums_SPC2)))
    return float(_drawn(sums_SPC2, *ones)[0])


def _drawn(
    sums_SPC2: NDArray[np.float64], counts_RP: NDArray[np.float64], weights_RS: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Score in each draw, (R,): mean over the drawn runs of the mean recall; a class that a draw lacks is left out."""
    scores_RS = np.stack([recall_in_draws(sums_PC2, counts_RP) for sums_PC2 in sums_SPC2], axis=1)
    drawn_R: NDArray[np.float64] = (weights_RS * scores_RS).sum(axis=1) / weights_RS.sum(axis=1)
    return drawn_R
