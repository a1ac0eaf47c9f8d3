"""Classification: how often the class is right, how well scores rank, and whether probabilities mean what they say.

The unit that is scored is the image, as in `core.evaluation.probes`; the unit that is drawn for the intervals is the
patient, with all its images. Images of one patient are not merged, since they may show different things. The balanced
accuracy and its interval are those of the probes, for the same seed.

* The class that is predicted is the most probable one, the first of equals.
* Macro-F1 is the mean over classes of 2 TP / (2 TP + FP + FN).
* AUROC is the chance that an image of a class is given a higher probability of it than an image of another class, ties
  counting half; with more than two classes the mean over classes, each against the rest.
* Sensitivity and specificity are those of the positive class; with more than two classes and none named, the mean over
  classes, each against the rest.
* The calibration error is the mean over images of |share that is right - mean probability| of the image's bin, with 15
  bins of equal width of the probability of the predicted class. It is never negative, so it is too large on few images,
  and its draws more so than its value: the interval may lie above it.
* The Brier score is half the squared distance of the probabilities from the truth, 0 to 1; with two classes (p - y)^2.

A draw of patients that lacks a class leaves that class out of a mean over classes. Where the test images themselves
lack one, everything that is counted by class has no value: it would be of another task.

C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599.
G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78(1):1-3, 1950,
doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
J. A. Hanley, B. J. McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
Radiology 143(1):29-36, 1982, doi:10.1148/radiology.143.1.7063747.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from core.errors import DataError
from core.evaluation.gain import PatientScore
from core.evaluation.intervals import recall_in_draws
from core.evaluation.metrics.estimate import DRAWS, Estimate, draw_counts, estimate, no_estimate
from core.evaluation.metrics.score import PRIMARY, TaskScore
from core.evaluation.metrics.weighted import Judged, calibration_error, in_draws
from core.evaluation.probes import balanced_accuracy

# N images, K classes, P patients, R draws

PURPOSE = "probe"
"""Of the draws of patients: those of `core.evaluation.probes`, whose intervals these are for the same seed."""

BY_CLASS = ("balanced_accuracy", "macro_f1", "auroc", "sensitivity", "specificity")
"""Metrics that need images of every class."""


class _Patients(NamedTuple):
    """The test patients by name."""

    names_P: NDArray[np.str_]
    place_N: NDArray[np.intp]
    """Which of them an image is of."""
    sums_PC2: NDArray[np.float64]
    """Right and all images of each patient and class."""


def score_classification(
    probabilities_NK: NDArray[np.floating],
    labels_N: NDArray[np.integer],
    patients_N: NDArray[np.str_],
    *,
    classes: Sequence[str],
    seed: int,
    positive: str | None = None,
    draws: int = DRAWS,
) -> TaskScore:
    """Score predicted probabilities; `balanced_accuracy` is the primary metric.

    Args:
        probabilities_NK: Of each class, >= 0; a row sums to 1.
        labels_N: The number of each image's class.
        patients_N: The patient of each image.
        classes: Names of the classes by number, at least two.
        seed: Seed of the bootstrap.
        positive: The class whose sensitivity and specificity are given; of two classes the second where none is named.
        draws: Bootstrap samples, >= 1.

    Returns:
        `balanced_accuracy`, `accuracy`, `macro_f1`, `auroc`, `sensitivity`, `specificity`, `calibration_error` and
        `brier`, all in [0, 1].

    Raises:
        DataError: Shapes that do not belong together, no probabilities, labels that are no class, class names that are
            given twice, a positive class that is none.
    """
    _check(probabilities_NK, labels_N, patients_N, classes, positive)
    judged = _judged(probabilities_NK, labels_N, classes, positive)
    patients = _patients(judged, patients_N)
    counts = {"images": len(labels_N), "patients": len(patients.names_P)}
    counts |= {f"images of {name}": int((labels_N == number).sum()) for number, name in enumerate(classes)}
    metrics = _metrics(judged, patients, classes, seed=seed, draws=draws)
    known = metrics[PRIMARY["classification"]].value is not None
    return TaskScore(kind="classification", primary=PRIMARY["classification"], metrics=metrics,
                     by_patient=_by_patient(patients) if known else {}, counts=counts)  # fmt: skip


def _metrics(
    judged: Judged, patients: _Patients, classes: Sequence[str], *, seed: int, draws: int
) -> dict[str, Estimate]:
    people = len(patients.names_P)
    if not people:
        return dict.fromkeys((*BY_CLASS, "accuracy", "calibration_error", "brier"), no_estimate("no test image"))
    counts_RP = draw_counts(people, purpose=PURPOSE, seed=seed, draws=draws)
    drawn = in_draws(judged, counts_RP, patients.place_N)
    drawn["balanced_accuracy"] = recall_in_draws(patients.sums_PC2, counts_RP)
    absent = [name for number, name in enumerate(classes) if not (judged.labels_N == number).any()]
    values = _averages(judged) | ({} if absent else _by_class(judged))
    reason = f"no test image of class {', '.join(absent)}"
    return {name: estimate(values[name], drawn[name], patients=people) if name in values else no_estimate(reason)
            for name in (*BY_CLASS, "accuracy", "calibration_error", "brier")}  # fmt: skip


def _averages(judged: Judged) -> dict[str, float]:
    """What needs no image of every class."""
    everyone_1N = np.ones((1, len(judged.labels_N)))
    return {
        "accuracy": float(judged.right_N.mean()),
        "calibration_error": float(calibration_error(judged, everyone_1N)[0]),
        "brier": float(judged.brier_N.mean()),
    }


def _by_class(judged: Judged) -> dict[str, float]:
    """What does; scikit-learn's where it has it."""
    labels_N, predicted_N, classes = judged.labels_N, judged.predicted_N, judged.probabilities_NK.shape[1]
    if classes == 2:
        auroc = roc_auc_score(labels_N, judged.probabilities_NK[:, 1])
    else:
        auroc = roc_auc_score(labels_N, judged.probabilities_NK, multi_class="ovr", labels=np.arange(classes))
    positives = np.arange(classes)[judged.positive]
    inside, outside = zip(*((labels_N == k, labels_N != k) for k in positives), strict=True)
    found = [predicted_N == k for k in positives]
    pairs = list(zip(found, inside, outside, strict=True))
    return {
        "balanced_accuracy": balanced_accuracy(labels_N, predicted_N),
        "macro_f1": float(f1_score(labels_N, predicted_N, labels=np.arange(classes), average="macro")),
        "auroc": float(auroc),
        "sensitivity": float(np.mean([found_N[in_N].mean() for found_N, in_N, _ in pairs])),
        "specificity": float(np.mean([1 - found_N[out_N].mean() for found_N, _, out_N in pairs])),
    }


def _judged(
    probabilities_NK: NDArray[np.floating], labels_N: NDArray[np.integer], classes: Sequence[str], positive: str | None
) -> Judged:
    probabilities = probabilities_NK.astype(np.float64)
    named = list(classes).index(positive) if positive is not None else 1
    return Judged(
        # scikit-learn asks for sums nearer to 1 than float32 gives
        probabilities_NK=probabilities / probabilities.sum(axis=1, keepdims=True),
        labels_N=labels_N.astype(np.int64),
        positive=slice(named, named + 1) if positive is not None or len(classes) == 2 else slice(None),
    )


def _patients(judged: Judged, patients_N: NDArray[np.str_]) -> _Patients:
    names_P, place_N = np.unique(patients_N, return_inverse=True)
    sums_PC2 = np.zeros((len(names_P), judged.probabilities_NK.shape[1], 2))
    np.add.at(sums_PC2[..., 0], (place_N, judged.labels_N), judged.right_N)
    np.add.at(sums_PC2[..., 1], (place_N, judged.labels_N), 1)
    return _Patients(names_P, place_N, sums_PC2)


def _by_patient(patients: _Patients) -> dict[str, PatientScore]:
    return dict(zip(patients.names_P.tolist(), patients.sums_PC2.astype(int).tolist(), strict=True))


def _check(
    probabilities_NK: NDArray[np.floating],
    labels_N: NDArray[np.integer],
    patients_N: NDArray[np.str_],
    classes: Sequence[str],
    positive: str | None,
) -> None:
    shape = probabilities_NK.shape
    problems = []
    if len(classes) < 2 or len(set(classes)) < len(classes):
        problems.append(f"classes are {', '.join(classes) or 'none'}; give two or more different names")
    if positive is not None and positive not in classes:
        problems.append(f"the positive class {positive!r} is none of {', '.join(classes)}")
    if shape != (len(labels_N), len(classes)) or labels_N.ndim != 1 or patients_N.shape != labels_N.shape:
        problems.append(
            f"probabilities {shape}, labels {labels_N.shape} and patients {patients_N.shape} do not belong together; "
            f"give (N, {len(classes)}), (N,) and (N,)"
        )
    # `not all good` in place of `any bad`: NaN is neither
    elif not ((probabilities_NK >= 0).all() and (np.abs(probabilities_NK.sum(axis=1) - 1) < 1e-3).all()):
        problems.append("probabilities must be finite, at least 0 and sum to 1 for each image; apply softmax")
    if labels_N.size and not (labels_N.min() >= 0 and labels_N.max() < len(classes)):
        problems.append(f"labels are {labels_N.min()} to {labels_N.max()}; they must be 0 to {len(classes) - 1}")
    if problems:
        raise DataError(problems, title="classification score")
