"""Organ-balanced loss, the share of the gap that federation closes, and differences of arms, with intervals.

Every interval is a percentile bootstrap of 95%. The unit that is drawn is the patient, never the image: the frames of
one patient are alike, and an interval over images would be too narrow. Where several trainings are given, a draw takes
training seeds too, crossed with the patients (Owen's pigeonhole bootstrap), the same seeds and patients for every arm.

What an interval covers: other patients of the same organs and hospitals and, with several seeds, other trainings on the
same training patients. What it does not: other training patients, other hospitals, another division of the patients.
From S seeds the bootstrap sees (S - 1) / S of the variance between seeds, so half of it from two, and it has but three
unlike samples of two seeds. Read an interval over two or three seeds as one over patients that two or three trainings
agree with, not as a measure of how much trainings differ.

B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall, 1993, chapter 13.
A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2):386-411, 2007, doi:10.1214/07-AOAS122.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from core.seeding import numpy_generator

# A arms (local mean, federated, centralized), P patients of one organ, R draws, S training seeds, C classes

Losses = Mapping[str, tuple[str, float]]
"""Patient -> (organ, mean loss over the patient's frames)."""

TAIL = 0.025
"""Share of the draws outside a 95% interval, on either side."""


class Interval(NamedTuple):
    """A value and its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """A share of a difference: of the gap between training alone and pooling that federation closes (0 none, 1 all)."""

    value: float | None
    """None where there is no such difference; `reason` says so."""
    low: float | None
    high: float | None
    """None where the interval has no bounds; `reason` says so."""
    reason: str = ""


def percentile_interval(value: float, draws_R: NDArray[np.float64]) -> Interval:
    """The central 95% of the bootstrap's draws around a value."""
    low, high = np.quantile(draws_R, [TAIL, 1 - TAIL])
    return Interval(value, float(low), float(high))


def patient_draws(patients: int, *, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """How often each patient stands in each bootstrap sample, float64 (draws, patients); a row sums to `patients`."""
    return generator.multinomial(patients, np.full(patients, 1 / patients), size=draws).astype(np.float64)


def seed_draws(seeds: int, *, draws: int, seed: int) -> NDArray[np.float64]:
    """Weight of each training seed in each bootstrap sample, float64 (draws, seeds); a row sums to 1."""
    return patient_draws(seeds, draws=draws, generator=numpy_generator(seed, "training seeds")) / seeds


def recall_in_draws(sums_PC2: NDArray[np.float64], counts_RP: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over classes of right / total in each draw of patients, (R,); a class that a draw lacks is left out.

    Args:
        sums_PC2: Right and total of each patient and class.
        counts_RP: How often each patient stands in each draw.
    """
    right_RC, total_RC = counts_RP @ sums_PC2[..., 0], counts_RP @ sums_PC2[..., 1]
    present_RC = total_RC > 0
    recall_RC = right_RC / np.where(present_RC, total_RC, 1)
    drawn_R: NDArray[np.float64] = recall_RC.sum(axis=1) / present_RC.sum(axis=1)
    return drawn_R


def organ_balanced(loss_by_patient: Losses, mix: Mapping[str, float]) -> float:
    """sum_o q[o] * mean loss of the patients of organ o, with q renormalised over the organs that have patients.

    Args:
        loss_by_patient: Patient -> (organ, mean loss over the patient's frames).
        mix: Target mix q, organ -> share >= 0. An organ outside the mix has share 0.

    Raises:
        DataError: A loss that is not finite, a negative share, or no patient of an organ in the mix.
    """
    shares = _shares([loss_by_patient], mix)
    return sum(
        share * float(np.mean([loss for at, loss in loss_by_patient.values() if at == organ]))
        for organ, share in shares.items()
    )


def gap_closed(
    local: Sequence[Losses],
    federated: Losses,
    centralized: Losses,
    *,
    mix: Mapping[str, float],
    seed: int,
    draws: int = 2000,
) -> Gap:
    """(L_local - L_federated) / (L_local - L_centralized), where L_local is the mean over the hospitals' own models.

    Paired bootstrap: a draw takes the same patients for every arm, as many of each organ as there are. In a draw where
    pooling is not better than training alone the ratio has no meaning. Such a draw counts as minus infinity for the
    lower bound and as plus infinity for the upper one, so the interval can only widen; where they are more than 2.5% of
    the draws, the interval has no bounds and none is given. An organ with one patient adds no width: read it as a case.

    Args:
        local: One entry a hospital: the losses of the model that it trained alone, on all held-out patients.
        federated: The losses of the federated model on the same patients.
        centralized: The losses of the model trained on the pooled images, on the same patients.
        mix: Target mix q, organ -> share >= 0.
        seed: The run's seed.
        draws: Bootstrap samples, >= 1.

    Raises:
        DataError: No hospital, arms scored on different patients or organs, or what `organ_balanced` refuses.
    """
    return gap_closed_over_seeds([local], [federated], [centralized], mix=mix, seed=seed, draws=draws)


def gap_closed_over_seeds(
    local_by_seed: Sequence[Sequence[Losses]],
    federated_by_seed: Sequence[Losses],
    centralized_by_seed: Sequence[Losses],
    *,
    mix: Mapping[str, float],
    seed: int,
    draws: int = 2000,
) -> Gap:
    """`gap_closed` of the arms' mean losses over training seeds, with an interval over patients and seeds.

    A draw takes as many seeds as there are, with replacement, and patients within each organ, the same for every arm;
    the arms of one seed stay together. With one seed this is `gap_closed`, number by number. Draws without a gap count
    as there. See the module for what an interval over few seeds is worth.

    Args:
        local_by_seed: For each training seed, one entry a hospital that trained alone.
        federated_by_seed: For each of the same seeds, in the same order, the federated model's losses.
        centralized_by_seed: The same for the model trained on the pooled images.
        mix: Target mix q, organ -> share >= 0.
        seed: Seed of the bootstrap.
        draws: Bootstrap samples, >= 1.

    Raises:
        DataError: No seed, another number of seeds for another arm, a seed without a hospital, or what `gap_closed`
            refuses; patients must be the same for every seed.
    """
    if not all(local_by_seed):
        raise DataError("gap closed: no hospital trained alone, so there is nothing to compare with")
    arms = [[_mean_losses(local) for local in local_by_seed], federated_by_seed, centralized_by_seed]
    means_A, drawn_RA = _drawn_means(arms, mix=mix, seed=seed, draws=draws)
    if means_A[0] <= means_A[2]:
        reason = (
            f"pooling the images was not better than training alone (held-out loss {means_A[2]:.4f} pooled, "
            f"{means_A[0]:.4f} alone), so there is no gap to close"
        )
        return Gap(value=None, low=None, high=None, reason=reason)
    value = float((means_A[0] - means_A[1]) / (means_A[0] - means_A[2]))
    return ratio_interval(
        value,
        drawn_RA[:, 0] - drawn_RA[:, 1],
        drawn_RA[:, 0] - drawn_RA[:, 2],
        undefined="pooling was not better than training alone",
    )


def difference(
    first_by_seed: Sequence[Losses],
    second_by_seed: Sequence[Losses],
    *,
    mix: Mapping[str, float],
    seed: int,
    draws: int = 2000,
) -> Interval:
    """Organ-balanced loss of the first arm minus that of the second, paired over patients and training seeds.

    Below 0 the first arm is better. For one organ's loss give the mix `{organ: 1.0}`. The same draws as those of
    `gap_closed_over_seeds`; see the module for what an interval over few seeds is worth.

    Args:
        first_by_seed: One arm's losses for each training seed.
        second_by_seed: Another arm's, for the same seeds in the same order.
        mix: Target mix q, organ -> share >= 0.
        seed: Seed of the bootstrap.
        draws: Bootstrap samples, >= 1.

    Raises:
        DataError: No seed, arms with different seeds, patients or organs, or what `organ_balanced` refuses.
    """
    arms = [first_by_seed, second_by_seed]
    means_A, drawn_RA = _drawn_means(arms, mix=mix, seed=seed, draws=draws)
    return percentile_interval(float(means_A[0] - means_A[1]), drawn_RA[:, 0] - drawn_RA[:, 1])


def ratio_interval(
    value: float, numerator_R: NDArray[np.float64], denominator_R: NDArray[np.float64], *, undefined: str
) -> Gap:
    """The interval of a ratio that has no meaning in draws whose denominator is not above 0.

    Such a draw counts as minus infinity for the lower bound and as plus infinity for the upper one; where they are more
    than 2.5% of the draws, the interval has no bounds. `undefined` says what was the matter in these draws.
    """
    defined_R = denominator_R > 0
    share = 1 - float(defined_R.mean())
    if share > TAIL:
        reason = f"the interval has no bounds: {undefined} in {share:.1%} of the draws"
        return Gap(value=value, low=None, high=None, reason=reason)
    ratio_R = numerator_R / np.where(defined_R, denominator_R, 1.0)
    low = float(np.quantile(np.where(defined_R, ratio_R, -np.inf), TAIL, method="higher"))
    high = float(np.quantile(np.where(defined_R, ratio_R, np.inf), 1 - TAIL, method="lower"))
    return Gap(value=value, low=low, high=high)


def _drawn_means(
    arms: Sequence[Sequence[Losses]], *, mix: Mapping[str, float], seed: int, draws: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Organ-balanced loss of each arm, mean over its seeds, (A,); and the same in each draw, (R, A)."""
    _check_paired(arms)
    shares = _shares([losses for arm in arms for losses in arm], mix)
    seeds_RS = seed_draws(len(arms[0]), draws=draws, seed=seed)
    generator = numpy_generator(seed, "gap_closed")
    means_A, drawn_RA = np.zeros(len(arms)), np.zeros((draws, len(arms)))
    for organ, share in shares.items():
        loss_SPA = _organ_losses(arms, organ=organ)
        counts_RP = patient_draws(loss_SPA.shape[1], draws=draws, generator=generator)
        means_A += share * loss_SPA.mean(axis=1).mean(axis=0)
        for weight_R, loss_PA in zip(seeds_RS.T, loss_SPA, strict=True):
            drawn_RA += share * weight_R[:, None] * (counts_RP @ loss_PA) / loss_SPA.shape[1]
    return means_A, drawn_RA


def _organ_losses(arms: Sequence[Sequence[Losses]], *, organ: str) -> NDArray[np.float64]:
    """Losses (S, P, A) of one organ's patients, by name."""
    patients = sorted(patient for patient, (at, _) in arms[0][0].items() if at == organ)
    seeds = zip(*arms, strict=True)
    return np.array([[[losses[patient][1] for losses in of_seed] for patient in patients] for of_seed in seeds])


def _mean_losses(local: Sequence[Losses]) -> Losses:
    """Patient by patient the mean over the hospitals' own models."""
    _check_paired([local])
    return {
        patient: (organ, float(np.mean([losses[patient][1] for losses in local])))
        for patient, (organ, _) in local[0].items()
    }


def _check_paired(arms: Sequence[Sequence[Losses]]) -> None:
    if not arms[0] or any(len(arm) != len(arms[0]) for arm in arms):
        numbers = ", ".join(str(len(arm)) for arm in arms)
        raise DataError(f"paired interval: the arms have {numbers} training seeds; give the same seeds, at least one")
    patients = [{patient: organ for patient, (organ, _) in losses.items()} for arm in arms for losses in arm]
    if any(other != patients[0] for other in patients[1:]):
        raise DataError(
            "paired interval: every arm and seed must be scored on the same patients with the same organs; fix the "
            "test patients in the manifest's split column, so that they do not change with the seed"
        )


def _shares(arms: Sequence[Losses], mix: Mapping[str, float]) -> dict[str, float]:
    """The mix over the organs that have patients, summing to 1."""
    problems = [f"mix: {organ} has share {share}, not a finite share >= 0" for organ, share in mix.items()
                if not (math.isfinite(share) and share >= 0)]  # fmt: skip
    problems += [f"held-out loss of patient {patient} is {loss}, not finite" for losses in arms
                 for patient, (_, loss) in losses.items() if not math.isfinite(loss)]  # fmt: skip
    if problems:
        raise DataError(problems, title="organ-balanced loss")
    present = {organ for organ, _ in arms[0].values()}
    shares = {organ: share for organ, share in sorted(mix.items()) if organ in present and share > 0}
    if not shares:
        raise DataError("organ-balanced loss: no held-out patient of an organ in the mix; check the split and the mix")
    total = sum(shares.values())
    return {organ: share / total for organ, share in shares.items()}
