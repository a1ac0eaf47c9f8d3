"""Dice of predicted masks: of each image, then the mean of a patient's images, then the mean of the patients.

    Dice = 2 |A and B| / (|A| + |B|)

An image whose true mask is empty has no useful Dice. It is kept out of the mean and counted apart: 1 where the
prediction is empty too, 0 where it is not. Three lines here take the place of MONAI's metric, which takes seconds to
import for one fraction; a test of `core.evaluation.metrics.segmentation` holds them to MONAI's.

L. R. Dice, "Measures of the Amount of Ecologic Association Between Species", Ecology 26(3):297-302, 1945,
doi:10.2307/1932409.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.evaluation.intervals import patient_draws, percentile_interval
from core.seeding import numpy_generator

# N images, S side, P patients, R draws

Grid = NDArray[np.float32]
"""Scores of pixels, (N, S, S): what lies above a threshold counts as inside."""

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Grid of the threshold."""

DRAWS = 2000
"""Bootstrap samples of the test patients."""


class Truth(NamedTuple):
    """The true masks of one split."""

    masks_NSS: NDArray[np.bool_]
    patients_N: NDArray[np.str_]
    """(N,), the patient of each mask."""

    @property
    def filled_N(self) -> NDArray[np.bool_]:  # noqa: N802 -- a value with its shape
        """Which masks are not empty."""
        return np.asarray(self.masks_NSS.any(axis=(1, 2)))


class Judged(NamedTuple):
    """One prediction of a split."""

    by_patient: dict[str, float]
    """Patient -> mean Dice of the images whose true mask is not empty."""
    empty_right: float | None
    """Share of the images with an empty mask that are predicted empty; None where there are none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DiceScore:
    """Mean Dice of the test patients with its 95% interval over patients; or None and the reason."""

    mean: float | None
    low: float | None
    high: float | None
    reason: str
    images: int
    """Test images whose true mask is not empty; the score is theirs."""
    patients: int
    """Test patients with such an image."""
    by_patient: dict[str, float]
    """Patient -> mean Dice over the images (and over repeats), for paired statistics; empty without a score."""
    empty_images: int
    """Test images whose true mask is empty."""
    empty_right: float | None
    """Share of these that are predicted empty (mean over repeats); None where there are none or no score."""


def dice_of_images(predicted_NSS: NDArray[np.bool_], true_NSS: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Dice of each image, (N,); 1 where both masks are empty."""
    both_N = (predicted_NSS & true_NSS).sum(axis=(1, 2))
    sizes_N = predicted_NSS.sum(axis=(1, 2)) + true_NSS.sum(axis=(1, 2))
    return np.where(sizes_N > 0, 2 * both_N / np.maximum(sizes_N, 1), 1.0)


def judge(scores_NSS: Grid, truth: Truth, *, threshold: float) -> Judged:
    """Dice of each patient at one threshold, images with an empty mask apart."""
    dice_N, filled_N = dice_of_images(scores_NSS > threshold, truth.masks_NSS), truth.filled_N
    found: dict[str, list[float]] = {}
    for patient, dice in zip(truth.patients_N[filled_N].tolist(), dice_N[filled_N].tolist(), strict=True):
        found.setdefault(patient, []).append(dice)
    empty_right = None if filled_N.all() else float(dice_N[~filled_N].mean())
    return Judged({patient: float(np.mean(values)) for patient, values in sorted(found.items())}, empty_right)


def best_threshold(scores_NSS: Grid, truth: Truth) -> tuple[float, float]:
    """The threshold with the best mean Dice, the lowest of equals, and that Dice; for validation patients only."""
    dice = [float(np.mean(list(judge(scores_NSS, truth, threshold=t).by_patient.values()))) for t in THRESHOLDS]
    best = int(np.argmax(dice))
    return THRESHOLDS[best], dice[best]


def obstacle(train: Truth, validation: Truth, test: Truth) -> str:
    """Why no score can be had, or nothing."""
    for name, split in (("training", train), ("validation", validation), ("test", test)):
        if not len(split.patients_N):
            return f"no {name} image with a mask"
        if not split.filled_N.any():
            return f"the mask of every {name} image is empty"
    return ""


def no_score(reason: str, test: Truth) -> DiceScore:
    """A score that could not be had."""
    return DiceScore(mean=None, low=None, high=None, reason=reason, by_patient={}, empty_right=None, **_counts(test))


def summarize(judged: Sequence[Judged], test: Truth, *, seed: int) -> DiceScore:
    """The score of one or several predictions of the same images: patient by patient the mean over predictions."""
    by_patient = {name: float(np.mean([one.by_patient[name] for one in judged])) for name in judged[0].by_patient}
    right = [one.empty_right for one in judged if one.empty_right is not None]
    mean, low, high = dice_interval(by_patient, seed=seed)
    return DiceScore(mean=mean, low=low, high=high, reason="", by_patient=by_patient,
                     empty_right=float(np.mean(right)) if right else None, **_counts(test))  # fmt: skip


def dice_interval(by_patient: Mapping[str, float], *, seed: int) -> tuple[float, float, float]:
    """Mean over patients and its percentile bootstrap; the same patients and seed give the same draws."""
    dice_P = np.array([dice for _, dice in sorted(by_patient.items())])
    counts_RP = patient_draws(len(dice_P), draws=DRAWS, generator=numpy_generator(seed, "dice"))
    return percentile_interval(float(dice_P.mean()), counts_RP @ dice_P / len(dice_P))


def _counts(test: Truth) -> dict[str, int]:
    filled_N = test.filled_N
    return {"images": int(filled_N.sum()), "patients": len(np.unique(test.patients_N[filled_N])),
            "empty_images": int((~filled_N).sum())}  # fmt: skip
