"""A cell: what it may hold, and what is read back from JSON."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import CheckpointError, DataError
from core.evaluation.label_efficiency.cells import Cell, cell_from, score, sums_of

DICE = {"x": 0.2, "y": 0.6}
PAIRS = {"x": [[1, 2], [0, 0]], "y": [[0, 0], [3, 4]]}


def test_a_score_is_the_mean_of_patients_or_of_classes() -> None:
    assert score(DICE) == pytest.approx((0.2 + 0.6) / 2)
    assert score(PAIRS) == pytest.approx((1 / 2 + 3 / 4) / 2)
    # Pooled over patients before the division: (1 + 1) / (2 + 1), not the mean of 1/2 and 1/1.
    assert score({"x": [[1, 2]], "y": [[1, 1]]}) == pytest.approx(2 / 3)
    assert sums_of(DICE).tolist() == [[[0.2, 1.0]], [[0.6, 1.0]]]


@pytest.mark.parametrize("by_patient", [DICE, PAIRS, None])
def test_a_cell_comes_back_from_json(cell: Callable[..., Cell], by_patient: Any) -> None:
    made = cell("mass", "federated", "all", 1, by_patient)
    read = cell_from(json.loads(json.dumps(made.document(), allow_nan=False)), place="c.json")
    assert read == made
    assert read.name == "mass/federated/all/1"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("budget", 2.5, 'budget is 2.5, not a whole number or "all"'), ("budget", "some", "budget is 'some'"),
     ("budget", True, "budget is True"), ("draw", "0", "draw is '0', not a whole number"),
     ("draw", -1, "draw must be finite and at least 0"), ("task", None, "task is None, not a text"),
     ("value", float("nan"), "value is nan, not a finite number or null"),
     ("value", 0.41, "value is 0.41, by_patient gives 0.4"), ("value", None, "reason must say why"),
     ("by_patient", {"x": "0.4"}, "by_patient is"), ("by_patient", {"x": []}, "by_patient is"),
     ("by_patient", {"x": [[1]]}, "by_patient is"), ("by_patient", {}, "no patient"),
     ("by_patient", {"x": [[0, 0]]}, "totals"), ("by_patient", {"x": 0.4, "y": [[1, 2], [1, 2]]}, "numbers of classes"),
     ("metrics", {"iou": 0.4}, "metrics is"), ("metrics", {"iou": {"value": "x"}}, "metrics is"),
     ("patients", 7, "patients is 7, the budget 8"), ("best_step", 101, "best_step is 101, beyond the 100 steps"),
     ("seconds", float("inf"), "seconds is inf, not a finite number"), ("images", 1.5, "images is 1.5"),
     ("steps", True, "steps is True, not a whole number"), ("validation", [1], "validation is"),
     ("arm", "", "task and arm must not be empty")],
)  # fmt: skip
def test_a_wrong_field_is_named(cell: Callable[..., Cell], field: str, value: Any, said: str) -> None:
    content = cell("mass", "federated", 8, 0, DICE).document() | {field: value}
    with pytest.raises(CheckpointError) as error:
        cell_from(content, place="runs/c.json")
    assert str(error.value).startswith("runs/c.json: ")
    assert said in str(error.value)


def test_every_missing_and_unknown_field_is_named(cell: Callable[..., Cell]) -> None:
    content = cell("mass", "federated", 8, 0, DICE).document()
    del content["task"], content["images"]
    with pytest.raises(CheckpointError, match="images is missing; task is missing; extra is not known"):
        cell_from(content | {"extra": 1}, place="c.json")
    for content in (None, [], "cell", 3):
        with pytest.raises(CheckpointError, match="holds no cell"):
            cell_from(content, place="c.json")


def test_a_score_and_a_reason_do_not_stand_together(cell: Callable[..., Cell]) -> None:
    with pytest.raises(DataError, match="by_patient must be empty"):
        cell("mass", "federated", 8, 0, DICE, value=None, reason="diverged")
    with pytest.raises(DataError, match="patients must be at least 1"):
        cell("mass", "federated", "all", 0, DICE, patients=0)


def test_single_precision_is_near_enough(cell: Callable[..., Cell]) -> None:
    assert cell("mass", "federated", 8, 0, DICE, value=0.4 + 1e-7).value == 0.4 + 1e-7
