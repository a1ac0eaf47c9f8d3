"""Metrics of classification in many draws of patients at once, each image counting as often as its patient is drawn.

What `core.evaluation.metrics.classification` defines, with weights. scikit-learn takes weights too, for one draw a
call, and would need seconds where these need tenths of one; tests hold each to scikit-learn's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# N images, K classes, P patients, R draws, G groups of equal scores, H bins

BINS = 15
"""Bins of the calibration error, of equal width (Guo et al. 2017)."""

AT_ONCE = 200
"""Draws that are computed together; bounds memory."""

Draws = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """Predictions of the test images with the truth."""

    probabilities_NK: NDArray[np.float64]
    labels_N: NDArray[np.int64]
    positive: slice
    """Which classes sensitivity and specificity are of."""

    @property
    def predicted_N(self) -> NDArray[np.intp]:  # noqa: N802 -- a value with its shape
        """The most probable class of each image, the first of equals."""
        return np.asarray(self.probabilities_NK.argmax(axis=1))

    @property
    def right_N(self) -> NDArray[np.bool_]:  # noqa: N802
        """Which images are classified rightly."""
        return np.asarray(self.predicted_N == self.labels_N)

    @property
    def true_NK(self) -> NDArray[np.float64]:  # noqa: N802
        """1 at each image's class."""
        return np.asarray(np.eye(self.probabilities_NK.shape[1])[self.labels_N])

    @property
    def brier_N(self) -> NDArray[np.float64]:  # noqa: N802
        """Half the squared distance of the probabilities from the truth."""
        return np.asarray(((self.probabilities_NK - self.true_NK) ** 2).sum(axis=1) / 2)


def in_draws(judged: Judged, counts_RP: Draws, place_N: NDArray[np.intp]) -> dict[str, Draws]:
    """Every metric but the balanced accuracy in each draw, (R,); NaN where a draw does not define it.

    Args:
        judged: Predictions and truth.
        counts_RP: How often each patient stands in each draw.
        place_N: Which patient an image is of.
    """
    parts = [
        _some(judged, some_RP[:, place_N]) for some_RP in np.split(counts_RP, range(AT_ONCE, len(counts_RP), AT_ONCE))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _some(judged: Judged, weights_RN: Draws) -> dict[str, Draws]:
    true_NK = judged.true_NK
    found_NK = np.eye(true_NK.shape[1])[judged.predicted_N]
    total_R1 = weights_RN.sum(axis=1, keepdims=True)
    true_RK, found_RK, both_RK = (weights_RN @ of_NK for of_NK in (true_NK, found_NK, true_NK * found_NK))
    there_RK = true_RK > 0
    inside = (slice(None), judged.positive)
    outside_RK, wrong_RK = total_R1 - true_RK, found_RK - both_RK
    return {
        "accuracy": weights_RN @ judged.right_N / total_R1[:, 0],
        "macro_f1": _mean(2 * both_RK, true_RK + found_RK, there_RK),
        "auroc": auroc(judged, weights_RN),
        "sensitivity": _mean(both_RK[inside], true_RK[inside], there_RK[inside]),
        "specificity": _mean((outside_RK - wrong_RK)[inside], outside_RK[inside], (outside_RK > 0)[inside]),
        "calibration_error": calibration_error(judged, weights_RN),
        "brier": weights_RN @ judged.brier_N / total_R1[:, 0],
    }


def auroc(judged: Judged, weights_RN: Draws) -> Draws:
    """Area under the ROC curve in each draw, (R,), mean over the classes that a draw has images of and images not of.

    With two classes both have the same area, so one is computed.
    """
    classes = judged.probabilities_NK.shape[1]
    each = [_area(judged.probabilities_NK[:, k], judged.labels_N == k, weights_RN)
            for k in (range(classes) if classes > 2 else [1])]  # fmt: skip
    won_RK, pairs_RK = np.stack([won for won, _ in each], axis=1), np.stack([pairs for _, pairs in each], axis=1)
    return _mean(won_RK, pairs_RK, pairs_RK > 0)


def _area(scores_N: NDArray[np.float64], inside_N: NDArray[np.bool_], weights_RN: Draws) -> tuple[Draws, Draws]:
    """Weight of the pairs of an image inside and one outside that are ordered rightly, ties half, and of all, (R,)."""
    order_N = np.argsort(scores_N, kind="stable")
    starts_G = np.flatnonzero(np.diff(scores_N[order_N], prepend=-np.inf))
    sorted_RN = weights_RN[:, order_N]
    inside_RG = np.add.reduceat(sorted_RN * inside_N[order_N], starts_G, axis=1)
    outside_RG = np.add.reduceat(sorted_RN * ~inside_N[order_N], starts_G, axis=1)
    below_RG = outside_RG.cumsum(axis=1) - outside_RG / 2
    return (inside_RG * below_RG).sum(axis=1), inside_RG.sum(axis=1) * outside_RG.sum(axis=1)


def calibration_error(judged: Judged, weights_RN: Draws) -> Draws:
    """Expected calibration error in each draw, (R,); bins hold their upper edge (Guo et al. 2017)."""
    confidence_N = judged.probabilities_NK.max(axis=1)
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    member_NH = np.eye(BINS)[np.searchsorted(edges, confidence_N, side="left")]
    # |share right - mean confidence| times the bin's weight is the size of the summed differences
    apart_RH = weights_RN @ (member_NH * (judged.right_N - confidence_N)[:, None])
    return np.asarray(np.abs(apart_RH).sum(axis=1) / weights_RN.sum(axis=1))


def _mean(part_RK: Draws, whole_RK: Draws, defined_RK: NDArray[np.bool_]) -> Draws:
    """Mean over the defined classes of part / whole, (R,); NaN where none is."""
    shares_RK = np.where(defined_RK, part_RK / np.where(defined_RK, whole_RK, 1), 0.0)
    defined_R = defined_RK.sum(axis=1)
    return np.where(defined_R > 0, shares_RK.sum(axis=1) / np.maximum(defined_R, 1), np.nan)
