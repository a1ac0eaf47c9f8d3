"""How much a frozen encoder's features say about a task: a linear probe and k nearest neighbours.

Both are fitted on training patients, tuned on validation patients and scored once on test patients. The score is the
balanced accuracy (mean recall of the classes; chance is 1 / classes), since ultrasound labels are seldom even. The
interval draws test patients, all images of one together. With the same seed every arm meets the same draws.

Sources: G. Alain, Y. Bengio, "Understanding intermediate layers using linear classifier probes", ICLR workshop 2017,
arXiv:1610.01644; Z. Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018,
arXiv:1805.01978 (k nearest neighbours by cosine).
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from core.errors import DataError
from core.evaluation.intervals import patient_draws, percentile_interval, recall_in_draws
from core.seeding import numpy_generator

# N images, M training images, D width, C classes, P patients, R draws, K neighbours

Labels = NDArray[np.int64]

INVERSE_PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Grid of scikit-learn's C, smallest (strongest penalty) first, for features of unit variance."""

NEIGHBOURS = (1, 5, 10, 20)
"""Grid of k."""

DRAWS = 2000
"""Bootstrap samples of the test patients."""

MAX_ITERATIONS = 2000
"""Steps of L-BFGS; where they do not suffice the classifier is used as it is."""


@dataclass(frozen=True, slots=True)
class Features:
    """The features of one split."""

    values_ND: NDArray[np.floating]
    """(N, D), one row an image."""
    labels_N: NDArray[np.integer]
    """(N,), class numbers."""
    patients_N: NDArray[np.str_]
    """(N,), the patient of each image."""

    def __post_init__(self) -> None:
        """Check the shapes."""
        images = len(self.values_ND)
        if self.values_ND.ndim != 2 or self.labels_N.shape != (images,) or self.patients_N.shape != (images,):
            raise DataError(
                f"probe: features {self.values_ND.shape}, labels {self.labels_N.shape} and patients "
                f"{self.patients_N.shape} are not of one length"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeScore:
    """Balanced accuracy on the test images with its 95% interval over patients; or None and the reason."""

    mean: float | None
    low: float | None
    high: float | None
    reason: str
    classes: int
    """Number of classes that were trained on; chance is its inverse."""
    images: int
    """Number of test images."""
    patients: int
    """Number of test patients."""
    by_patient: dict[str, list[list[int]]]
    """Patient -> for each class of the test images, in order, images that were right and images; for paired statistics.
    Empty without a score."""


Predict = Callable[[NDArray[np.floating]], Labels]


def linear_probe(train: Features, validation: Features, test: Features, *, seed: int) -> ProbeScore:
    """Logistic regression on standardised features, classes weighted alike.

    The penalty is the strongest among those with the best validation score. Mean and variance come from the training
    images, and the classifier that is scored was fitted on them alone.

    Args:
        train: What the classifier is fitted on.
        validation: What chooses the penalty.
        test: What is scored; its patients should be in neither of the others.
        seed: The run's seed; it serves the bootstrap only.
    """
    return _score(_linear_candidates, train, validation, test, seed=seed)


def knn_probe(train: Features, validation: Features, test: Features, *, seed: int) -> ProbeScore:
    """Vote of the k training images with the largest cosine similarity; a tie goes to the more similar class.

    k is the smallest of 1, 5, 10, 20 (at most the number of training images) with the best validation score.

    Args:
        train: The images that vote.
        validation: What chooses k.
        test: What is scored; its patients should be in neither of the others.
        seed: The run's seed; it serves the bootstrap only.
    """
    return _score(_knn_candidates, train, validation, test, seed=seed)


def balanced_accuracy(truth_N: NDArray[np.integer], predicted_N: NDArray[np.integer]) -> float:
    """Mean recall over the classes that the truth holds."""
    return float(np.mean([np.mean(predicted_N[truth_N == label] == label) for label in np.unique(truth_N)]))


def _score(
    candidates: Callable[[Features], Iterable[Predict]],
    train: Features,
    validation: Features,
    test: Features,
    *,
    seed: int,
) -> ProbeScore:
    classes, patients = len(np.unique(train.labels_N)), len(np.unique(test.patients_N))
    reason = _obstacle(train, validation, test)
    if reason:
        return ProbeScore(mean=None, low=None, high=None, reason=reason, classes=classes,
                          images=len(test.labels_N), patients=patients, by_patient={})  # fmt: skip
    # max keeps the first of equals: the smallest C, the smallest k
    best = max(candidates(train), key=lambda f: balanced_accuracy(validation.labels_N, f(validation.values_ND)))
    predicted_N = best(test.values_ND)
    mean = balanced_accuracy(test.labels_N, predicted_N)
    patients_P, sums_PC2 = _tally(test, predicted_N)
    mean, low, high = percentile_interval(mean, _bootstrap(sums_PC2, seed=seed))
    by_patient = dict(zip(patients_P.tolist(), sums_PC2.astype(int).tolist(), strict=True))
    return ProbeScore(mean=mean, low=low, high=high, reason="", classes=classes, images=len(test.labels_N),
                      patients=patients, by_patient=by_patient)  # fmt: skip


def _obstacle(train: Features, validation: Features, test: Features) -> str:
    """Why no score can be had, or nothing."""
    for name, split in (("training", train), ("validation", validation), ("test", test)):
        if not len(split.labels_N):
            return f"no {name} image"
        if not np.isfinite(split.values_ND).all():
            return f"{name} features are not finite"
    trained, tested = set(train.labels_N.tolist()), set(test.labels_N.tolist())
    if len(trained | tested) < 2:
        return "the images hold one class only"
    if tested - trained:
        return f"no training image of class {_listed(tested - trained)}"
    if trained - tested:
        return f"no test image of class {_listed(trained - tested)}"
    if not trained & set(validation.labels_N.tolist()):
        return "no validation image of a class that was trained on"
    return ""


def _listed(labels: set[int]) -> str:
    return ", ".join(str(label) for label in sorted(labels))


def _linear_candidates(train: Features) -> Iterable[Predict]:
    scaler = StandardScaler().fit(train.values_ND.astype(np.float64))
    scaled_MD = scaler.transform(train.values_ND.astype(np.float64))
    for inverse_penalty in INVERSE_PENALTIES:
        model = LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=MAX_ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # judged on validation like every other
            model.fit(scaled_MD, train.labels_N)

        def predict(values_ND: NDArray[np.floating], model: LogisticRegression = model) -> Labels:
            labels_N: Labels = model.predict(scaler.transform(values_ND.astype(np.float64)))
            return labels_N

        yield predict


def _knn_candidates(train: Features) -> Iterable[Predict]:
    most = len(train.labels_N)
    for neighbours in sorted({min(k, most) for k in NEIGHBOURS}):

        def predict(values_ND: NDArray[np.floating], neighbours: int = neighbours) -> Labels:
            return _vote(train, values_ND, neighbours=neighbours)

        yield predict


def _vote(train: Features, values_ND: NDArray[np.floating], *, neighbours: int) -> Labels:
    similarity_NM = _unit(values_ND) @ _unit(train.values_ND).T
    nearest_NK = np.argsort(-similarity_NM, axis=1, kind="stable")[:, :neighbours]
    near_NK = np.take_along_axis(similarity_NM, nearest_NK, axis=1)
    classes_C = np.unique(train.labels_N)
    voted_NKC = train.labels_N[nearest_NK][:, :, None] == classes_C
    # Cosines sum to at most K in size, so divided by 2K + 1 they decide ties and never outweigh a vote.
    tie_NC = (near_NK[:, :, None] * voted_NKC).sum(axis=1) / (2 * neighbours + 1)
    winner_N: Labels = classes_C[np.argmax(voted_NKC.sum(axis=1) + tie_NC, axis=1)]
    return winner_N


def _unit(values_ND: NDArray[np.floating]) -> NDArray[np.float64]:
    values = values_ND.astype(np.float64)
    norms = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return np.asarray(values / norms)


def _tally(test: Features, predicted_N: Labels) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """The test patients by name, and their right and all images of each class, (P, C, 2)."""
    classes_C, class_N = np.unique(test.labels_N, return_inverse=True)
    patients_P, patient_N = np.unique(test.patients_N, return_inverse=True)
    right_PC, total_PC = np.zeros((2, len(patients_P), len(classes_C)))
    np.add.at(right_PC, (patient_N, class_N), predicted_N == test.labels_N)
    np.add.at(total_PC, (patient_N, class_N), 1)
    return patients_P, np.stack([right_PC, total_PC], axis=-1)


def _bootstrap(sums_PC2: NDArray[np.float64], *, seed: int) -> NDArray[np.float64]:
    """Balanced accuracy in each draw of the test patients, (R,)."""
    return recall_in_draws(
        sums_PC2, patient_draws(len(sums_PC2), draws=DRAWS, generator=numpy_generator(seed, "probe"))
    )
