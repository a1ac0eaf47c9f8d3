"""Probes on features whose answer is known."""

import numpy as np
import pytest

from core.errors import DataError
from core.evaluation.probes import Features, balanced_accuracy, knn_probe, linear_probe


def _split(labels: list[int], *, name: str, apart: float, seed: int, per_patient: int = 2) -> Features:
    """Class c lies `apart` along axis c; noise of size 1 in 6 dimensions."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(len(labels), 6)) + apart * np.eye(6)[labels]
    patients = np.array([f"{name}{i // per_patient}" for i in range(len(labels))])
    return Features(values.astype(np.float32), np.array(labels), patients)


def _splits(apart: float, classes: int = 2, images: int = 60) -> tuple[Features, Features, Features]:
    labels = [i // 2 % classes for i in range(images)]
    named = zip(("train", "validation", "test"), range(3), strict=True)
    train, validation, test = (_split(labels, name=name, apart=apart, seed=seed) for name, seed in named)
    return train, validation, test


PROBES = pytest.mark.parametrize("probe", [linear_probe, knn_probe])


@PROBES
def test_classes_far_apart_are_read_without_error(probe) -> None:
    score = probe(*_splits(apart=30.0, classes=3), seed=0)
    assert (score.mean, score.low, score.high, score.reason) == (1.0, 1.0, 1.0, "")
    assert (score.classes, score.images, score.patients) == (3, 60, 30)


@PROBES
def test_features_that_say_nothing_score_about_chance(probe) -> None:
    score = probe(*_splits(apart=0.0, images=400), seed=0)
    assert score.low < 0.5 < score.high
    assert abs(score.mean - 0.5) < 0.1


@PROBES
def test_the_interval_holds_the_mean_and_repeats_with_the_seed(probe) -> None:
    splits = _splits(apart=1.5)
    score = probe(*splits, seed=0)
    assert 0 < score.low < score.mean < score.high < 1
    assert probe(*splits, seed=0) == score
    assert probe(*splits, seed=1).mean == score.mean
    assert probe(*splits, seed=1) != score


@PROBES
def test_images_of_one_patient_are_drawn_together(probe) -> None:
    train, validation, test = _splits(apart=1.5, images=200)
    score = probe(train, validation, test, seed=0)
    apart = Features(test.values_ND, test.labels_N, np.array([f"image{i}" for i in range(200)]))
    grouped = Features(test.values_ND, test.labels_N, np.array([f"p{i // 20}" for i in range(200)]))
    alone, together = probe(train, validation, apart, seed=0), probe(train, validation, grouped, seed=0)
    assert alone.mean == together.mean == score.mean
    assert (alone.patients, together.patients) == (200, 10)
    assert alone != together


def test_one_test_patient_leaves_no_width() -> None:
    train, validation, test = _splits(apart=1.0)
    one = Features(test.values_ND, test.labels_N, np.array(["only"] * 60))
    score = linear_probe(train, validation, one, seed=0)
    assert score.low == score.mean == score.high


def test_a_rare_class_counts_as_much_as_a_common_one() -> None:
    # recall of class 0 is 3 / 4, of class 1 it is 1 / 1: mean 7 / 8, whereas 4 of 5 images are right
    truth, predicted = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 1])
    assert balanced_accuracy(truth, predicted) == pytest.approx(7 / 8)


@PROBES
@pytest.mark.parametrize(
    ("train", "validation", "test", "reason"),
    [
        ([0, 1, 0, 1], [0, 1], [0, 0], "no test image of class 1"),
        ([0, 1, 0, 1], [0, 1], [0, 1, 2], "no training image of class 2"),
        ([0, 0, 0, 0], [0, 0], [0, 0], "the images hold one class only"),
        ([0, 1, 0, 1], [], [0, 1], "no validation image"),
        ([0, 1, 0, 1], [2], [0, 1], "no validation image of a class that was trained on"),
        ([], [0, 1], [0, 1], "no training image"),
        ([0, 1, 0, 1], [0, 1], [], "no test image"),
    ],
)
def test_what_cannot_be_scored_gives_a_reason_instead_of_a_number(probe, train, validation, test, reason) -> None:
    splits = [
        _split(labels, name="p", apart=5.0, seed=0) if labels else _empty() for labels in (train, validation, test)
    ]
    score = probe(*splits, seed=0)
    assert (score.mean, score.low, score.high, score.reason) == (None, None, None, reason)
    assert score.images == len(test)


def _empty() -> Features:
    return Features(np.zeros((0, 6)), np.zeros(0, int), np.zeros(0, "U1"))


@PROBES
def test_an_encoder_that_diverged_has_no_score(probe) -> None:
    train, validation, test = _splits(apart=5.0)
    broken = Features(np.where(np.arange(6) == 2, np.nan, test.values_ND), test.labels_N, test.patients_N)
    assert probe(train, validation, broken, seed=0).reason == "test features are not finite"


@PROBES
def test_fewer_images_than_neighbours_and_a_class_missing_in_validation_are_no_trouble(probe) -> None:
    train = _split([0, 1] * 4, name="t", apart=40.0, seed=0)
    validation, test = _split([0], name="v", apart=40.0, seed=1), _split([0, 1], name="s", apart=40.0, seed=2)
    score = probe(train, validation, test, seed=0)
    assert score.mean == 1.0


def test_constant_features_and_zero_vectors_are_scored() -> None:
    flat = Features(np.zeros((4, 3)), np.array([0, 1, 0, 1]), np.array(["a", "b", "c", "d"]))
    assert linear_probe(flat, flat, flat, seed=0).mean == 0.5
    assert knn_probe(flat, flat, flat, seed=0).mean == 0.5


def test_nearest_neighbours_compare_directions_not_lengths() -> None:
    train = Features(np.array([[1.0, 0.1], [0.1, 1.0]]), np.array([0, 1]), np.array(["a", "b"]))
    far = Features(np.array([[90.0, 1.0], [0.5, 70.0]]), np.array([0, 1]), np.array(["c", "d"]))
    assert knn_probe(train, far, far, seed=0).mean == 1.0


def test_among_equals_the_strongest_penalty_and_the_smallest_k_win() -> None:
    # 21 training images, one of them close to the query with another label: k = 1 is right and so is no larger k,
    # on validation images that every k gets right; so k = 1 must be taken.
    angles = np.deg2rad([0.0, *np.linspace(10, 20, 10), *np.linspace(100, 110, 10)])
    labels = np.array([1, *[0] * 10, *[1] * 10])
    train = Features(np.stack([np.cos(angles), np.sin(angles)], 1), labels, np.array([f"t{i}" for i in range(21)]))
    at = np.deg2rad([15.5, 105.0])
    validation = Features(np.stack([np.cos(at), np.sin(at)], 1), np.array([0, 1]), np.array(["v", "w"]))
    near = np.deg2rad([0.0, 16.0])
    test = Features(np.stack([np.cos(near), np.sin(near)], 1), np.array([1, 0]), np.array(["x", "y"]))
    assert knn_probe(train, validation, test, seed=0).mean == 1.0


def test_features_of_unequal_length_are_refused() -> None:
    with pytest.raises(DataError, match="not of one length"):
        Features(np.zeros((3, 2)), np.zeros(2, int), np.array(["a", "b", "c"]))


@PROBES
def test_right_and_all_images_of_each_patient_and_class_add_up_to_the_score(probe) -> None:
    score = probe(*_splits(apart=1.5, classes=3), seed=0)
    sums = np.array(list(score.by_patient.values()))  # 30 patients, 3 classes, right and all
    assert sums.shape == (30, 3, 2)
    assert sums[..., 1].sum() == score.images
    right, every = sums.sum(axis=0).T
    assert np.mean(right / every) == pytest.approx(score.mean)
    assert list(score.by_patient) == sorted(score.by_patient)
