"""Every metric in many draws is scikit-learn's with sample weights, draw by draw."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, recall_score, roc_auc_score

from core.evaluation.metrics.weighted import Judged, auroc, calibration_error, in_draws

NO_ONE_ELSE = slice(None)


def judged(*, classes: int, images: int, seed: int, levels: int = 5) -> Judged:
    """Probabilities of few levels, so that scores tie."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(1, levels + 1, (images, classes)).astype(float)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, images - classes)])
    positive = slice(1, 2) if classes == 2 else NO_ONE_ELSE
    return Judged(
        probabilities_NK=scores / scores.sum(axis=1, keepdims=True), labels_N=labels.astype(np.int64), positive=positive
    )


@settings(deadline=None, max_examples=8)
@given(classes=st.integers(2, 4), images=st.integers(12, 30), seed=st.integers(0, 10**6))
def test_draws_are_scikit_learns_with_sample_weights(classes: int, images: int, seed: int) -> None:
    one = judged(classes=classes, images=images, seed=seed)
    place = np.random.default_rng(seed).integers(0, 6, images)
    counts = np.random.default_rng(seed + 1).integers(0, 4, (3, 6)).astype(float) + 0.5  # every class in every draw
    found = in_draws(one, counts, place)
    truth, predicted, labels = one.labels_N, one.predicted_N, np.arange(classes)
    for draw, weights in enumerate(counts[:, place]):
        area = [roc_auc_score(truth == k, one.probabilities_NK[:, k], sample_weight=weights) for k in labels]
        right = recall_score(truth, predicted, labels=labels, average=None, sample_weight=weights, zero_division=0)
        clear = [recall_score(truth != k, predicted != k, sample_weight=weights, zero_division=0) for k in labels]
        both = [brier_score_loss(truth == k, one.probabilities_NK[:, k], sample_weight=weights) for k in labels]
        expected = {
            "accuracy": accuracy_score(truth, predicted, sample_weight=weights),
            "macro_f1": f1_score(truth, predicted, labels=labels, average="macro", sample_weight=weights),
            "auroc": np.mean(area),
            "sensitivity": np.mean(right[one.positive]),
            "specificity": np.mean(clear[one.positive]),
            "brier": np.sum(both) / 2,
        }  # fmt: skip
        assert {name: found[name][draw] for name in expected} == pytest.approx(expected)


def test_many_draws_are_the_same_as_few() -> None:
    one = judged(classes=3, images=20, seed=0)
    counts = np.random.default_rng(0).integers(0, 3, (450, 20)).astype(float) + 1
    whole, part = in_draws(one, counts, np.arange(20)), in_draws(one, counts[210:220], np.arange(20))
    for name, values in whole.items():
        assert values.shape == (450,)
        assert values[210:220] == pytest.approx(part[name])


def test_a_draw_without_a_class_leaves_it_out_of_means_over_classes() -> None:
    one = Judged(probabilities_NK=np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1]]),
                 labels_N=np.array([0, 1, 2]), positive=slice(None))  # fmt: skip
    found = in_draws(one, np.array([[1.0, 1.0, 0.0], [2.0, 0.0, 0.0]]), np.arange(3))
    # first draw: classes 0 and 1, both right
    assert {name: found[name][0] for name in ("macro_f1", "auroc", "sensitivity")} == {
        "macro_f1": 1, "auroc": 1, "sensitivity": 1,
    }  # fmt: skip
    # second draw: class 0 alone has no pair to rank
    assert found["sensitivity"][1] == 1
    assert np.isnan(found["auroc"][1])


def test_of_two_classes_one_alone_leaves_what_needs_both_undefined() -> None:
    one = Judged(probabilities_NK=np.array([[0.8, 0.2], [0.3, 0.7]]), labels_N=np.array([0, 1]), positive=slice(1, 2))
    found = in_draws(one, np.array([[2.0, 0.0]]), np.arange(2))
    assert np.isnan([found["sensitivity"][0], found["auroc"][0]]).all()
    assert found["specificity"][0] == 1


def test_calibration_error_by_hand() -> None:
    # bins of 1/15: 0.6 lies on the upper edge of (8/15, 9/15], 0.62 in (9/15, 10/15], 0.9 in (13/15, 14/15]
    confidence = np.array([0.6, 0.58, 0.62, 0.9])
    one = Judged(probabilities_NK=np.stack([confidence, 1 - confidence], axis=1),
                 labels_N=np.array([0, 1, 0, 0]), positive=slice(1, 2))  # fmt: skip
    # |1 - 1.18| of the first bin, whose images are right and wrong; then |1 - 0.62| and |1 - 0.9|; over 4 images
    expected = (abs(1 - (0.6 + 0.58)) + (1 - 0.62) + (1 - 0.9)) / 4
    assert calibration_error(one, np.ones((1, 4)))[0] == pytest.approx(expected)
    # an image drawn twice counts twice
    twice = (abs(2 - (0.6 * 2 + 0.58)) + (1 - 0.62) + (1 - 0.9)) / 5
    assert calibration_error(one, np.array([[2.0, 1, 1, 1]]))[0] == pytest.approx(twice)


def test_probability_0_and_1_have_a_bin() -> None:
    one = Judged(probabilities_NK=np.array([[1.0, 0.0], [0.0, 1.0]]), labels_N=np.array([0, 0]), positive=slice(1, 2))
    assert calibration_error(one, np.ones((1, 2)))[0] == 0.5


def test_area_counts_ties_half() -> None:
    one = Judged(probabilities_NK=np.array([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]), labels_N=np.array([1, 0, 0]),
                 positive=slice(1, 2))  # fmt: skip
    # the positive ties with one negative and beats the other
    assert auroc(one, np.ones((1, 3)))[0] == (0.5 + 1) / 2
    assert auroc(one, np.array([[1.0, 1.0, 3.0]]))[0] == (0.5 + 3) / 4
