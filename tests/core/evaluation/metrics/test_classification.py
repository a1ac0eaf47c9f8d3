"""Scores of classes on images that fit in the head, and as the probes have them."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from core.errors import DataError
from core.evaluation.metrics.classification import score_classification
from core.evaluation.metrics.score import TaskScore
from core.evaluation.probes import Features, linear_probe

TWO = ["benign", "malignant"]


def score(malignant: list[float], labels: list[int], patients: str, *, positive: str | None = None) -> TaskScore:
    """Two classes; each letter of `patients` is the patient of one image."""
    second = np.array(malignant, dtype=np.float64).reshape(-1)
    return score_classification(np.stack([1 - second, second], axis=1), np.array(labels, np.int64),
                                np.array(list(patients), np.str_), classes=TWO, seed=0, positive=positive)  # fmt: skip


def drawn(seed: int, *, images: int = 60, classes: int = 3) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    scores = np.exp(rng.normal(size=(images, classes)) + 1.5 * np.eye(classes)[labels])
    return scores / scores.sum(axis=1, keepdims=True), labels


def test_two_classes_by_hand() -> None:
    found = score([0.9, 0.4, 0.8, 0.1], [1, 1, 0, 0], "abcd")
    values = {name: one.value for name, one in found.metrics.items()}
    # right: the first and the last. Pairs of a malignant and a benign image: .9 > .8, .9 > .1, .4 < .8, .4 > .1
    assert values == pytest.approx({
        "balanced_accuracy": 1 / 2, "accuracy": 1 / 2, "macro_f1": 1 / 2, "auroc": 3 / 4,
        "sensitivity": 1 / 2, "specificity": 1 / 2,
        "brier": (0.1**2 + 0.6**2 + 0.8**2 + 0.1**2) / 4,
        # 0.9 twice in one bin, both right; 0.6 and 0.8 wrong in bins of their own
        "calibration_error": (2 * (1 - 0.9) + 0.6 + 0.8) / 4,
    })  # fmt: skip
    assert found.counts == {"images": 4, "patients": 4, "images of benign": 2, "images of malignant": 2}


def test_the_second_of_two_classes_is_positive_unless_another_is_named() -> None:
    second = score([0.9, 0.9, 0.9, 0.1], [1, 0, 0, 0], "abcd").metrics
    assert (second["sensitivity"].value, second["specificity"].value) == pytest.approx((1, 1 / 3))
    first = score([0.9, 0.9, 0.9, 0.1], [1, 0, 0, 0], "abcd", positive="benign").metrics
    assert (first["sensitivity"].value, first["specificity"].value) == pytest.approx((1 / 3, 1))
    assert first["auroc"] == second["auroc"]  # it has no direction


def test_more_classes_are_each_taken_against_the_rest() -> None:
    probabilities, labels = drawn(0)
    patients = np.array([f"p{number % 20}" for number in range(60)])
    found = score_classification(probabilities, labels, patients, classes=["a", "b", "c"], seed=0).metrics
    predicted = probabilities.argmax(axis=1)
    recall = [np.mean(predicted[labels == k] == k) for k in range(3)]
    clear = [np.mean(predicted[labels != k] != k) for k in range(3)]
    assert found["sensitivity"].value == found["balanced_accuracy"].value == pytest.approx(np.mean(recall))
    assert found["specificity"].value == pytest.approx(np.mean(clear))
    area = np.mean([roc_auc_score(labels == k, probabilities[:, k]) for k in range(3)])
    assert found["auroc"].value == pytest.approx(area)
    named = score_classification(probabilities, labels, patients, classes=["a", "b", "c"], seed=0, positive="c").metrics
    assert (named["sensitivity"].value, named["specificity"].value) == pytest.approx((recall[2], clear[2]))


def test_every_interval_holds_its_value_save_that_of_the_calibration_error() -> None:
    probabilities, labels = drawn(1)
    patients = np.array([f"p{number % 20}" for number in range(60)])
    for name, one in score_classification(probabilities, labels, patients, classes=list("abc"), seed=0).metrics.items():
        assert one.reason == ""
        assert one.patients == 20
        assert one.value is not None
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.high
        assert name == "calibration_error" or one.low <= one.value <= one.high


def test_balanced_accuracy_and_its_interval_are_those_of_the_probes() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    values = rng.normal(size=(40, 3)) + labels[:, None]
    patients = np.array([f"p{number // 2}" for number in range(40)])
    split = Features(values, labels, patients)
    probe = linear_probe(split, split, split, seed=5)
    # Whatever the probe predicted, `by_patient` tells which images were right: make probabilities that say the same.
    right = {name: [pair[0] for pair in pairs] for name, pairs in probe.by_patient.items()}
    predicted = [label if right[patient][label] else 1 - label for patient, label in zip(patients, labels, strict=True)]
    found = score_classification(np.eye(2)[predicted], labels, patients, classes=TWO, seed=5)
    assert found.by_patient == probe.by_patient
    one = found.metrics["balanced_accuracy"]
    assert (one.value, one.low, one.high) == pytest.approx((probe.mean, probe.low, probe.high))


def test_patients_have_right_and_total_of_each_class() -> None:
    found = score([0.9, 0.4, 0.8, 0.1], [1, 1, 0, 0], "aaab")
    assert found.by_patient == {"a": [[0, 1], [1, 2]], "b": [[1, 1], [0, 0]]}


def test_a_class_that_no_test_image_has_leaves_what_counts_by_class_undefined() -> None:
    found = score([0.9, 0.4], [1, 1], "ab")
    for name in ("balanced_accuracy", "macro_f1", "auroc", "sensitivity", "specificity"):
        assert found.metrics[name].value is None
        assert found.metrics[name].reason == "no test image of class benign"
    assert found.metrics["accuracy"].value == 0.5
    assert found.metrics["brier"].value == pytest.approx((0.1**2 + 0.6**2) / 2)
    assert found.by_patient == {}


def test_without_an_image_everything_is_undefined() -> None:
    found = score([], [], "")
    assert {one.reason for one in found.metrics.values()} == {"no test image"}
    assert found.counts["images"] == 0


def test_with_few_patients_what_draws_often_lack_has_a_value_and_no_interval() -> None:
    found = score([0.9, 0.4, 0.8], [1, 0, 0], "abc").metrics
    assert found["auroc"].value == 1
    assert found["auroc"].low is None
    assert "not defined in" in found["auroc"].reason  # (2/3)^3 of the draws lack the malignant one
    assert found["accuracy"].reason == ""


def test_probabilities_in_float32_are_taken() -> None:
    probabilities, labels = drawn(2)
    patients = np.array([f"p{number % 20}" for number in range(60)])
    whole, single = (
        score_classification(of, labels, patients, classes=list("abc"), seed=0, draws=50)
        for of in (probabilities, probabilities.astype(np.float32))
    )
    assert single.metrics["auroc"].value == pytest.approx(whole.metrics["auroc"].value)


@pytest.mark.parametrize(
    ("probabilities", "labels", "classes", "positive", "says"),
    [
        ([[0.5, 0.5]], [0, 1], TWO, None, "do not belong together"),
        ([[0.5, 0.5]], [0], ["a", "b", "c"], None, "do not belong together"),
        ([[0.5, 0.6]], [0], TWO, None, "sum to 1"),
        ([[np.nan, 1.0]], [0], TWO, None, "must be finite"),
        ([[-0.5, 1.5]], [0], TWO, None, "at least 0"),
        ([[0.5, 0.5]], [2], TWO, None, "labels are 2 to 2; they must be 0 to 1"),
        ([[0.5, 0.5]], [-1], TWO, None, "labels are -1 to -1"),
        ([[0.5, 0.5]], [0], ["a", "a"], None, "two or more different names"),
        ([[0.5, 0.5]], [0], TWO, "normal", "the positive class 'normal' is none of benign, malignant"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    probabilities: list[list[float]], labels: list[int], classes: list[str], positive: str | None, says: str
) -> None:
    with pytest.raises(DataError, match="classification score") as caught:
        score_classification(np.array(probabilities), np.array(labels), np.array(["a"] * len(labels)), classes=classes,
                             seed=0, positive=positive)  # fmt: skip
    assert says in str(caught.value)
