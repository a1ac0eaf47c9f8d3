"""Organ-balanced loss and the share of the gap that federation closes, with intervals over patients.

Every interval is a percentile bootstrap of 95%. The unit that is drawn is the patient, never the image: the frames of
one patient are alike, and an interval over images would be too narrow. An interval speaks of other patients of the same
organs and hospitals; it says nothing of another training seed.

Source: B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall, 1993, chapter 13.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from core.seeding import numpy_generator

# A arms (local mean, federated, centralized), P patients of one organ, R draws

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
    """The share of the gap between training alone and pooling that federation closes: 0 none of it, 1 all of it."""

    value: float | None
    """None where there is no gap to close; `reason` says so."""
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
    arms = [*local, federated, centralized]
    _check_paired(local, arms)
    shares = _shares(arms, mix)
    generator = numpy_generator(seed, "gap_closed")
    mean_A, drawn_RA = np.zeros(3), np.zeros((draws, 3))
    for organ, share in shares.items():
        loss_PA = _organ_losses(local, federated, centralized, organ=organ)
        counts_RP = patient_draws(len(loss_PA), draws=draws, generator=generator)
        mean_A += share * loss_PA.mean(axis=0)
        drawn_RA += share * (counts_RP @ loss_PA) / len(loss_PA)
    return _ratio(mean_A, drawn_RA)


def _organ_losses(
    local: Sequence[Losses], federated: Losses, centralized: Losses, *, organ: str
) -> NDArray[np.float64]:
    """Losses (P, 3) of one organ's patients: mean of the local models, federated, centralized."""
    patients = sorted(patient for patient, (at, _) in federated.items() if at == organ)
    return np.array(
        [
            [np.mean([losses[p][1] for losses in local]), federated[p][1], centralized[p][1]]
            for p in patients
        ]
    )  # fmt: skip


def _ratio(mean_A: NDArray[np.float64], drawn_RA: NDArray[np.float64]) -> Gap:
    gap = mean_A[0] - mean_A[2]
    if gap <= 0:
        reason = (
            f"pooling the images was not better than training alone (held-out loss {mean_A[2]:.4f} pooled, "
            f"{mean_A[0]:.4f} alone), so there is no gap to close"
        )
        return Gap(value=None, low=None, high=None, reason=reason)
    value = float((mean_A[0] - mean_A[1]) / gap)
    gap_R = drawn_RA[:, 0] - drawn_RA[:, 2]
    defined_R = gap_R > 0
    undefined = 1 - float(defined_R.mean())
    if undefined > TAIL:
        reason = f"pooling was not better than training alone in {undefined:.1%} of the draws of patients"
        return Gap(value=value, low=None, high=None, reason=f"the interval has no bounds: {reason}")
    ratio_R = (drawn_RA[:, 0] - drawn_RA[:, 1]) / np.where(defined_R, gap_R, 1.0)
    low = float(np.quantile(np.where(defined_R, ratio_R, -np.inf), TAIL, method="higher"))
    high = float(np.quantile(np.where(defined_R, ratio_R, np.inf), 1 - TAIL, method="lower"))
    return Gap(value=value, low=low, high=high)


def _check_paired(local: Sequence[Losses], arms: Sequence[Losses]) -> None:
    if not local:
        raise DataError("gap closed: no hospital trained alone, so there is nothing to compare with")
    patients = [{patient: organ for patient, (organ, _) in losses.items()} for losses in arms]
    if any(other != patients[0] for other in patients[1:]):
        raise DataError("gap closed: every arm must be scored on the same patients with the same organs")


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
