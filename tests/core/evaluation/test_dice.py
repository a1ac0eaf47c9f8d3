"""Dice by image, patient and split, on masks of four pixels."""

import numpy as np
import pytest

from core.evaluation.dice import (
    THRESHOLDS,
    Judged,
    Truth,
    best_threshold,
    dice_interval,
    dice_of_images,
    judge,
    no_score,
    obstacle,
    summarize,
)


def _masks(*rows: str) -> np.ndarray:
    """Each word is one image of 2 x 2 pixels, row by row: `1100` is the upper half."""
    return np.array([[int(letter) for letter in row] for row in rows]).reshape(-1, 2, 2) > 0


TRUTH = Truth(_masks("1100", "1111", "1000", "0000", "0000"), np.array(["a", "a", "b", "b", "c"]))


def test_dice_is_twice_the_overlap_over_the_sum_of_sizes() -> None:
    predicted, true = _masks("1100", "1010", "0000", "0000", "1111"), _masks("1100", "1100", "1100", "0000", "0000")
    assert dice_of_images(predicted, true) == pytest.approx([1, 2 * 1 / (2 + 2), 0, 1, 0])


def test_images_are_averaged_within_a_patient_and_empty_masks_are_kept_apart() -> None:
    predicted = _masks("1000", "1111", "1100", "0000", "0100").astype(np.float32)
    judged = judge(predicted, TRUTH, threshold=0.5)
    # a: 2 * 1 / (1 + 2) and 1; b: 2 * 1 / (2 + 1), its empty image apart; c has an empty image only
    assert judged.by_patient == pytest.approx({"a": (2 / 3 + 1) / 2, "b": 2 / 3})
    assert judged.empty_right == pytest.approx((1 + 0) / 2)


def test_without_empty_masks_there_is_nothing_to_count_apart() -> None:
    truth = Truth(_masks("1100"), np.array(["a"]))
    assert judge(truth.masks_NSS.astype(np.float32), truth, threshold=0.5) == Judged({"a": 1.0}, None)


def test_the_threshold_with_the_best_dice_is_taken_and_the_lowest_of_equals() -> None:
    # Two pixels inside at 0.42, two outside at 0.28: thresholds 0.30, 0.35 and 0.40 are all right.
    truth = Truth(_masks("1100"), np.array(["a"]))
    scores = np.array([[[0.42, 0.42], [0.28, 0.28]]], np.float32)
    assert THRESHOLDS[5:8] == (0.3, 0.35, 0.4)
    assert best_threshold(scores, truth) == (0.3, 1.0)


def test_an_empty_image_does_not_move_the_threshold() -> None:
    with_empty = Truth(_masks("1100", "0000"), np.array(["a", "b"]))
    scores = np.array([[[0.42, 0.42], [0.28, 0.28]], [[0.9, 0.9], [0.9, 0.9]]], np.float32)
    assert best_threshold(scores, with_empty) == (0.3, 1.0)


def test_repeats_are_averaged_patient_by_patient() -> None:
    score = summarize([Judged({"a": 1.0, "b": 0.0}, 1.0), Judged({"a": 0.5, "b": 0.5}, 0.0)], TRUTH, seed=0)
    assert score.by_patient == {"a": 0.75, "b": 0.25}
    assert (score.mean, score.empty_right) == (0.5, 0.5)
    assert (score.images, score.patients, score.empty_images) == (3, 2, 2)
    # of two patients a draw is (a, a), (a, b) or (b, b), with chances 1/4, 1/2, 1/4
    assert (score.low, score.high) == (0.25, 0.75)


def test_the_interval_is_over_patients_and_repeats_with_the_seed() -> None:
    dice = {f"p{i}": i / 49 for i in range(50)}
    mean, low, high = dice_interval(dice, seed=0)
    deviation = np.std([i / 49 for i in range(50)]) / np.sqrt(50)
    assert mean == pytest.approx(0.5)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.1)
    assert dice_interval(dict(reversed(dice.items())), seed=0) == (mean, low, high)
    assert dice_interval(dice, seed=1) != (mean, low, high)


NOBODY = Truth(np.zeros((0, 2, 2), bool), np.zeros(0, "U1"))
EMPTY = Truth(_masks("0000"), np.array(["a"]))


@pytest.mark.parametrize(
    ("splits", "reason"),
    [
        ((NOBODY, TRUTH, TRUTH), "no training image with a mask"),
        ((TRUTH, NOBODY, TRUTH), "no validation image with a mask"),
        ((TRUTH, TRUTH, NOBODY), "no test image with a mask"),
        ((TRUTH, EMPTY, TRUTH), "the mask of every validation image is empty"),
        ((TRUTH, TRUTH, TRUTH), ""),
    ],
)
def test_what_stands_in_the_way_is_said(splits: tuple[Truth, Truth, Truth], reason: str) -> None:
    assert obstacle(*splits) == reason


def test_a_score_that_cannot_be_had_still_counts_what_is_there() -> None:
    score = no_score("for this reason", TRUTH)
    assert (score.mean, score.low, score.high, score.empty_right, score.by_patient) == (None, None, None, None, {})
    assert (score.reason, score.images, score.patients, score.empty_images) == ("for this reason", 3, 2, 2)
