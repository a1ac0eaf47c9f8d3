"""The goals of the study: met, missed, or not measured."""

from collections.abc import Callable

import pytest

from core.evaluation.label_efficiency.analysis import Analysis
from core.evaluation.label_efficiency.cells import Cell

Cells = Callable[..., list[Cell]]
Study = Callable[..., Analysis]


@pytest.mark.parametrize(
    ("federated", "met"),
    [(0.70, [True, True, True]), (0.689, [False, True, True]), (0.49, [False, False, True]), (0.47, [False] * 3)],
)
def test_goals_follow_the_numbers(cells: Cells, study: Study, federated: float, met: list) -> None:
    # Random weights 0.5 at every budget, pooled 0.7: kept (federated - 0.5) / 0.2; all labels minus 0.02 is 0.48.
    found = study(cells({"random_init": 0.5, "federated": federated, "centralized": 0.7}))
    assert [one.met for one in found.goals] == met


def test_a_goal_about_a_budget_that_was_not_run_is_not_measured(cells: Cells, study: Study) -> None:
    found = study([one for one in cells() if one.budget != 32], budgets=(8, "all"))
    assert [one.met for one in found.goals[1:]] == [None, None]
    assert "mass not measured: federated at 32 patients: not run" in found.goals[1].evidence


def test_one_task_that_is_missing_leaves_open_what_it_could_decide(cells: Cells, study: Study) -> None:
    found = study([one for one in cells() if one.task == "mass"])
    # The gain must be shown on two tasks, one shows it and one is missing; to reach all labels one task is enough.
    assert [one.met for one in found.goals] == [None, None, True]
    missed = study([one for one in cells({"random_init": 0.5, "federated": 0.4, "centralized": 0.7})
                    if one.task == "mass"])  # fmt: skip
    assert [one.met for one in missed.goals] == [None, False, None]


def test_the_evidence_has_the_interval(cells: Cells, study: Study) -> None:
    goals = study(cells()).goals
    assert goals[0].evidence == "95% (95% interval 95% to 95%)"
    assert goals[1].evidence == "mass +0.190 (+0.190 to +0.190); head +0.190 (+0.190 to +0.190)"


def test_a_share_without_bounds_says_so(cells: Cells, study: Study) -> None:
    found = study(cells({"random_init": 0.5, "federated": 0.6, "centralized": 0.4}))
    assert found.goals[0].met is None
    assert "not shown to gain" in found.goals[0].evidence


def test_a_goal_of_two_tasks_is_no_miss_of_a_study_of_one(cells: Cells, study: Study) -> None:
    found = study([one for one in cells() if one.task == "mass"], core_tasks=("mass",), tasks={"mass": "Dice"})
    assert found.goals[1].met is None
