"""Overlap and distance on hand-made masks, against brute force, and the rule for empty masks."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from monai.metrics.meandice import compute_dice
from numpy.typing import NDArray

from core.errors import DataError
from core.evaluation.dice import Truth, dice_of_images, judge, summarize
from core.evaluation.metrics.score import TaskScore
from core.evaluation.metrics.segmentation import hd95_of_images, score_segmentation

Masks = NDArray[np.bool_]


def masks(*images: str) -> Masks:
    """Each word is one image, rows apart by `/`: `11/00` is the upper half."""
    return np.array([[[int(pixel) for pixel in row] for row in image.split("/")] for image in images]) > 0


def score(predicted: Masks, truth: Masks, patients: str, spacing: NDArray[np.float64] | None = None) -> TaskScore:
    """Each letter of `patients` is the patient of one image."""
    names = np.array(list(patients), dtype=np.str_)
    return score_segmentation(predicted, truth, names, spacing_N2=spacing, seed=0)


def brute_force(predicted: Masks, truth: Masks, *, rows: float = 1, columns: float = 1) -> float:
    """The larger of two directed 95th percentiles of distances between boundary pixels, pair by pair."""

    def boundary(mask: Masks) -> NDArray[np.float64]:
        wide = np.pad(mask, 1)
        inner = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
        return np.argwhere(mask & ~inner) * [rows, columns]

    apart = np.linalg.norm(boundary(predicted)[:, None] - boundary(truth)[None], axis=-1)
    return max(float(np.percentile(apart.min(axis=axis), 95)) for axis in (0, 1))


def test_overlap_of_one_image_by_hand() -> None:
    found = score(masks("1100/1000/0000/0000"), masks("1110/0000/0000/0000"), "a").metrics
    # 2 pixels in both, 1 predicted alone, 1 true alone, 12 in neither
    assert found["dice"].value == pytest.approx(2 * 2 / (3 + 3))
    assert found["iou"].value == pytest.approx(2 / 4)
    assert found["sensitivity"].value == pytest.approx(2 / 3)
    assert found["specificity"].value == pytest.approx(12 / 13)


def test_a_perfect_prediction_has_distance_0_and_everything_else_1() -> None:
    truth = masks("110/100/000", "000/010/000")
    found = {name: one.value for name, one in score(truth, truth, "ab", np.ones((2, 2))).metrics.items()}
    assert found == {"dice": 1, "iou": 1, "sensitivity": 1, "specificity": 1, "hd95": 0, "hd95_mm": 0}


@given(predicted=arrays.arrays(bool, (3, 5, 5)), truth=arrays.arrays(bool, (3, 5, 5)))
@settings(deadline=None, max_examples=50)
def test_dice_is_monais_and_iou_is_dice_over_2_minus_dice(predicted: Masks, truth: Masks) -> None:
    truth[:, 0, 0] = True
    ours = dice_of_images(predicted, truth)
    monai = compute_dice(torch.from_numpy(predicted)[:, None], torch.from_numpy(truth)[:, None])[:, 0]
    assert ours == pytest.approx(monai.numpy(), abs=1e-6)
    for one, image, mask in zip(ours, predicted, truth, strict=True):
        found = score(image[None], mask[None], "a").metrics
        assert found["iou"].value == pytest.approx(one / (2 - one), abs=1e-6)


@pytest.mark.parametrize(
    ("predicted", "truth", "distance"),
    [
        ("1000/0000/0000/0000", "0000/0000/0000/0001", math.hypot(3, 3)),  # one pixel each, opposite corners
        ("1000/0000/0000/0000", "1100/0000/0000/0000", 0.95),  # to truth 0; from it 0 and 1, the 95th percentile 0.95
        ("1111/1111/1111/1111", "1000/0000/0000/0000", None),
        ("1111/0000/0000/0000", "0000/0000/0000/1111", 3),
    ],
)
def test_distance_of_hand_made_masks(predicted: str, truth: str, distance: float | None) -> None:
    ours = hd95_of_images(masks(predicted), masks(truth))[0]
    assert ours == pytest.approx(brute_force(masks(predicted)[0], masks(truth)[0]), abs=1e-5)
    assert distance is None or ours == pytest.approx(distance, abs=1e-5)


def test_a_mask_that_fills_its_image_has_its_border_as_boundary() -> None:
    full, middle = np.ones((1, 5, 5), bool), masks("00000/00000/00100/00000/00000")
    # 16 pixels of the border: 4 corners at sqrt(8), 8 at sqrt(5), 4 at 2; the 95th percentile is a corner's
    assert hd95_of_images(full, middle)[0] == pytest.approx(math.sqrt(8), abs=1e-5)


@st.composite
def pairs(draw: Any) -> tuple[Masks, Masks, float, float]:
    """Two masks that are not empty, sparse or dense, with borders often touched, and a spacing."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(2, 12)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    found = [rng.random(shape) < draw(st.sampled_from([0.05, 0.4, 0.9])) for _ in range(2)]
    for mask in found:
        mask[tuple(rng.integers(shape))] = True
    rows, columns = draw(st.sampled_from([(1.0, 1.0), (0.1, 0.4), (2.5, 0.05)]))
    return found[0], found[1], rows, columns


@settings(deadline=None, max_examples=150)
@given(pairs())
def test_distance_is_that_of_brute_force(pair: tuple[Masks, Masks, float, float]) -> None:
    predicted, truth, rows, columns = pair
    ours = hd95_of_images(predicted[None], truth[None], spacing_N2=np.array([[rows, columns]]))
    assert ours[0] == pytest.approx(brute_force(predicted, truth, rows=rows, columns=columns), rel=1e-4, abs=1e-5)


def test_distance_is_that_of_brute_force_on_larger_masks_of_one_call() -> None:
    rows, columns = np.mgrid[:48, :48]
    rng = np.random.default_rng(0)

    def ellipse() -> Masks:
        (y, x), (height, width) = rng.uniform(0, 48, 2), rng.uniform(4, 20, 2)
        return ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1

    predicted, truth = (np.stack([ellipse() for _ in range(6)]) for _ in range(2))
    spacing = rng.uniform(0.1, 1, (6, 2))
    expected = [
        brute_force(one, other, rows=step[0], columns=step[1])
        for one, other, step in zip(predicted, truth, spacing, strict=True)
    ]
    assert hd95_of_images(predicted, truth, spacing_N2=spacing) == pytest.approx(expected, rel=1e-4)


def test_nothing_predicted_has_the_diagonal_as_distance_and_is_counted() -> None:
    truth = masks("1000/0000/0000/0000", "0110/0110/0000/0000")
    found = score(masks("0000/0000/0000/0000", "0110/0110/0000/0000"), truth, "ab", np.array([[0.5, 0.25]] * 2))
    assert found.by_patient == {"a": 0.0, "b": 1.0}
    assert found.metrics["hd95"].value == pytest.approx((math.hypot(4, 4) + 0) / 2)
    assert found.metrics["hd95_mm"].value == pytest.approx((math.hypot(4 * 0.5, 4 * 0.25) + 0) / 2)
    assert found.metrics["sensitivity"].value == pytest.approx((0 + 1) / 2)
    assert found.counts["hd95_penalised"] == 1


def test_images_with_an_empty_mask_are_left_out_and_counted_apart() -> None:
    truth = masks("10/00", "00/00", "00/00", "00/00")
    found = score(masks("10/00", "00/00", "11/11", "01/00"), truth, "aabb")
    assert found.by_patient == {"a": 1.0}  # b has empty masks only
    assert found.metrics["dice"].value == 1
    assert found.metrics["dice"].patients == 1
    assert found.counts == {"images": 4, "patients": 2, "empty_images": 3, "empty_right": 1, "hd95_penalised": 0,
                            "images_with_spacing": 0}  # fmt: skip


@pytest.mark.parametrize(("images", "reason"), [(2, "the mask of every test image is empty"), (0, "no test image")])
def test_without_a_filled_mask_there_is_no_score_but_a_reason(images: int, reason: str) -> None:
    nothing = np.zeros((images, 4, 4), bool)
    found = score(nothing, nothing, "ab"[:images])
    assert found.by_patient == {}
    assert all(
        one.value is None and one.low is None and one.reason.startswith(reason) for one in found.metrics.values()
    )
    assert found.counts["empty_right"] == images


def test_a_true_mask_that_fills_its_image_has_no_specificity() -> None:
    full = np.ones((2, 2, 2), bool)
    assert score(full, full, "ab").metrics["specificity"].reason == "every true mask fills its image"
    mixed = np.stack([full[0], masks("10/00")[0]])
    found = score(full, mixed, "ab").metrics["specificity"]
    assert (found.value, found.patients) == (0, 1)


def test_images_are_averaged_within_a_patient_then_patients() -> None:
    truth = masks("11/00", "11/00", "11/00")
    found = score(masks("11/00", "10/00", "00/11"), truth, "aab")
    a = (1 + 2 * 1 / (1 + 2)) / 2
    assert found.by_patient == pytest.approx({"a": a, "b": 0})
    assert found.metrics["dice"].value == pytest.approx((a + 0) / 2)
    assert found.metrics["iou"].value == pytest.approx(((1 + 1 / 2) / 2 + 0) / 2)
    # of two patients a draw is (a, a), (a, b) or (b, b), with chances 1/4, 1/2, 1/4
    assert (found.metrics["dice"].low, found.metrics["dice"].high) == pytest.approx((0, a))


def test_millimetres_are_scored_where_the_spacing_is_known() -> None:
    truth = masks("1000/0000/0000/0000", "1000/0000/0000/0000")
    predicted = masks("0001/0000/0000/0000", "0000/0000/0000/1000")
    known = score(predicted, truth, "ab", np.array([[0.5, 0.2], [np.nan, np.nan]]))
    assert known.metrics["hd95"].value == pytest.approx(3)
    assert known.metrics["hd95_mm"].value == pytest.approx(3 * 0.2)  # three columns; b is not known
    assert known.metrics["hd95_mm"].patients == 1
    assert known.counts["images_with_spacing"] == 1
    unknown = score(predicted, truth, "ab").metrics["hd95_mm"]
    assert unknown.value is None
    assert "column `spacing`" in unknown.reason


def test_dice_and_its_interval_are_those_of_the_dice_module() -> None:
    rng = np.random.default_rng(0)
    predicted, truth = rng.random((2, 30, 6, 6)) < 0.3
    patients = np.array([f"p{number % 11}" for number in range(30)])
    truth[:3] = False
    judged = judge(predicted.astype(np.float32), Truth(truth, patients), threshold=0.5)
    theirs = summarize([judged], Truth(truth, patients), seed=7)
    ours = score_segmentation(predicted, truth, patients, spacing_N2=None, seed=7)
    assert ours.by_patient == pytest.approx(theirs.by_patient)
    found = ours.metrics["dice"]
    assert (found.value, found.low, found.high) == pytest.approx((theirs.mean, theirs.low, theirs.high))
    assert ours.counts["empty_right"] / ours.counts["empty_images"] == pytest.approx(theirs.empty_right)


def test_what_does_not_belong_together_is_refused_all_at_once() -> None:
    with pytest.raises(DataError) as caught:
        score_segmentation(np.zeros((2, 4, 4), bool), np.zeros((2, 4, 5)), np.array(["a"]),
                           spacing_N2=np.array([[0.0, 1.0], [1.0, 1.0]]), seed=0)  # fmt: skip
    assert len(caught.value.problems) == 3
