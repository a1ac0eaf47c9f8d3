"""The grid of the study, and cells that cannot be compared."""

from collections.abc import Callable
from typing import Any

import pytest

from core.errors import ConfigError, DataError
from core.evaluation.label_efficiency.budgets import Undefined
from core.evaluation.label_efficiency.cells import Cell
from core.evaluation.label_efficiency.design import Design, Grid

Make = Callable[..., Cell]


def design(**changed: Any) -> Design:
    fields: dict[str, Any] = {"arms": ("random_init", "federated"), "core_tasks": ("mass",),
                              "tasks": {"mass": "Dice", "lung": "Dice"}, "budgets": ("all", 8), "draws": 2}  # fmt: skip
    return Design(**fields | changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"arms": ("federated",)}, "arms must hold random_init"), ({"core_tasks": ("x",)}, "core task 'x' is no task"),
     ({"arms": ("random_init",) * 2}, "listed twice"), ({"budgets": (8, 8)}, "budget 8 is listed twice"),
     ({"draws": 0}, "a draw at least"), ({"core_tasks": ()}, "a core task"), ({"budgets": ()}, "a budget")],
)  # fmt: skip
def test_a_design_that_says_nothing_is_refused(changed: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        design(**changed)


def test_a_core_task_has_every_budget_and_another_those_that_were_run(cell: Make) -> None:
    grid = Grid([cell("lung", "federated", 8, 0, {"x": 0.5})], design())
    assert grid.budgets == {"mass": [8, "all"], "lung": [8]}
    assert len(grid.keys()) == (2 + 1) * 2  # budgets of both tasks, two arms
    assert grid.missing() == 6 * 2 - 1
    assert (grid.patients("lung", 8), grid.patients("mass", "all")) == (8, None)


def test_one_undefined_draw_leaves_the_score_undefined_and_says_which(cell: Make) -> None:
    one, other = cell("mass", "federated", 8, 0, {"x": 0.5}), cell("mass", "federated", 8, 1, None)
    key = ("mass", "federated", 8)
    assert Grid([one, other], design()).defined(key) == Undefined("draw 1: none is of class malignant")
    assert Grid([one], design()).defined(key) == Undefined("draw 1: not run")
    assert Grid([], design()).defined(key) == Undefined("not run")
    both = [cell("mass", "federated", 8, draw, None) for draw in range(2)]
    assert Grid(both, design()).defined(key) == Undefined("none is of class malignant")
    second = cell("mass", "federated", 8, 1, {"x": 0.7})
    assert Grid([second, one], design()).defined(key) == [one, second]


def test_strangers_and_twins_are_refused_by_name(cell: Make) -> None:
    strangers = [cell("mass", "fedavg", 8, 0, None), cell("liver", "federated", 32, 5, None)]
    with pytest.raises(DataError) as error:
        Grid(strangers, design())
    everything = "task 'liver' is not of the study, budget 32 is not of the study, draw 5 is not of the study"
    for said in ("arm 'fedavg' is not of the study", everything):
        assert said in str(error.value)
    with pytest.raises(DataError, match="mass/federated/8/0 is there 2 times"):
        Grid([cell("mass", "federated", 8, 0, None)] * 2, design())


def test_arms_that_saw_other_patients_are_refused(cell: Make) -> None:
    first = cell("mass", "random_init", "all", 0, {"x": 0.5, "y": 0.5})
    with pytest.raises(DataError, match="labelled 49 patients and mass/random_init/all/0 50"):
        Grid([first, cell("mass", "federated", "all", 0, {"x": 0.5, "y": 0.5}, patients=49)], design())
    with pytest.raises(DataError, match="scored on different patients"):
        Grid([first, cell("mass", "federated", 8, 0, {"x": 0.5})], design())
    with pytest.raises(DataError, match="different numbers of classes"):
        Grid([first, cell("mass", "federated", 8, 0, {one: [[1, 2], [1, 2]] for one in "xy"})], design())
