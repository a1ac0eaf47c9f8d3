"""A score over several seeds is their mean, with an interval only where it is a mean over patients."""

from typing import Any

import pytest

from core.evaluation.over_seeds import mean_score


def _score(mean: float | None, by_patient: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "mean": mean,
        "low": 0.0,
        "high": 1.0,
        "reason": "" if mean else "no image",
        "by_patient": by_patient,
        **more,
    }


def test_one_seed_keeps_its_own_interval_and_names_no_patient() -> None:
    assert mean_score([_score(0.5, {"p": 0.5})]) == {"mean": 0.5, "low": 0.0, "high": 1.0, "reason": ""}


def test_dice_of_two_seeds_has_the_mean_and_an_interval_of_each_patients_mean() -> None:
    # patients' means over the seeds: 0.3, 0.7; every bootstrap mean lies between them
    scores = [_score(0.4, {"a": 0.2, "b": 0.6}), _score(0.6, {"a": 0.4, "b": 0.8})]
    found = mean_score(scores)
    assert found["mean"] == pytest.approx((0.4 + 0.6) / 2)
    assert found["low"] == pytest.approx(0.3)
    assert found["high"] == pytest.approx(0.7)
    assert "by_patient" not in found


def test_an_accuracy_counted_by_class_has_no_interval_over_seeds() -> None:
    counts = {"a": [[1.0, 2.0], [0.0, 1.0]], "b": [[2.0, 2.0], [1.0, 1.0]]}  # as many patients as classes
    found = mean_score([_score(0.4, counts), _score(0.6, counts)])
    assert (found["mean"], found["low"], found["high"]) == (pytest.approx(0.5), None, None)
    assert "several seeds" in found["reason"]


def test_a_seed_without_a_score_leaves_none_and_says_why() -> None:
    found = mean_score([_score(0.4, {"a": 0.4}), _score(None, {})])
    assert (found["mean"], found["low"], found["reason"]) == (None, None, "no image")


def test_empty_masks_predicted_empty_are_averaged_too() -> None:
    scores = [_score(0.4, {"a": 0.4}, empty_right=0.5), _score(0.6, {"a": 0.6}, empty_right=1.0)]
    assert mean_score(scores)["empty_right"] == pytest.approx(0.75)
