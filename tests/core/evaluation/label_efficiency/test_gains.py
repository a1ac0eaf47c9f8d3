"""Gains, the share that is kept, and the labels that are saved."""

from collections.abc import Callable

import pytest

from core.evaluation.label_efficiency.analysis import Analysis
from core.evaluation.label_efficiency.cells import Cell

Cells = Callable[..., list[Cell]]
Study = Callable[..., Analysis]


def _leveled(cell: Callable[..., Cell], levels: dict[str, dict[tuple[str, object], float]]) -> list[Cell]:
    """Two draws of four patients, all at the level of (task, budget)."""
    return [cell(task, arm, budget, draw, dict.fromkeys("wxyz", level))
            for arm, of in levels.items() for (task, budget), level in of.items() for draw in range(2)]  # fmt: skip


LEVELS = {
    "random_init": {("mass", 8): 0.2, ("mass", 32): 0.4, ("mass", "all"): 0.6,
                    ("head", 8): 0.5, ("head", 32): 0.6, ("head", "all"): 0.7},
    "federated": {("mass", 8): 0.3, ("mass", 32): 0.6, ("mass", "all"): 0.7,
                  ("head", 8): 0.65, ("head", 32): 0.69, ("head", "all"): 0.7},
    "centralized": {("mass", 8): 0.4, ("mass", 32): 0.6, ("mass", "all"): 0.7,
                    ("head", 8): 0.6, ("head", 32): 0.65, ("head", "all"): 0.75},
}  # fmt: skip


def test_gains_are_summed_over_budgets_and_tasks_before_they_are_divided(
    cell: Callable[..., Cell], study: Study
) -> None:
    kept = study(_leveled(cell, LEVELS)).gain_kept
    # mass: federated 0.1 + 0.2 + 0.1, centralized 0.2 + 0.2 + 0.1; head: 0.15 + 0.09 + 0.0 and 0.1 + 0.05 + 0.05.
    for name, expected in (("mass", 0.4 / 0.5), ("head", 0.24 / 0.2), ("overall", 0.64 / 0.7)):
        assert (kept[name].value, kept[name].low, kept[name].high) == pytest.approx((expected,) * 3)
    assert list(kept) == ["overall", "mass", "head"]


def test_a_budget_that_one_arm_lacks_is_left_out_of_both_sums(cell: Callable[..., Cell], study: Study) -> None:
    cells = [one for one in _leveled(cell, LEVELS) if (one.task, one.arm, one.budget) != ("mass", "centralized", 8)]
    cells += [cell("mass", "centralized", 8, draw, None) for draw in range(2)]
    found = study(cells)
    assert found.gain_kept["mass"].value == pytest.approx(0.3 / 0.3)  # 0.2 + 0.1 of both
    assert found.gain_kept["overall"].value == pytest.approx(0.54 / 0.5)
    assert found.left_out == ("mass, 8 patients: none is of class malignant (pooled (reference)).",)
    assert found.gain("mass", "federated", 8).estimate.value == pytest.approx(0.1)  # it has both of its arms
    assert found.gain("mass", "centralized", 8).estimate.reason == (
        "centralized at 8 patients: none is of class malignant"
    )


def test_a_core_task_without_any_budget_leaves_the_overall_share_undefined(
    cell: Callable[..., Cell], study: Study
) -> None:
    kept = study([one for one in _leveled(cell, LEVELS) if one.task == "mass"]).gain_kept
    assert (kept["overall"].value, kept["overall"].reason) == (None, "no budget has all three arms on head")
    assert kept["head"].value is None
    assert kept["mass"].value == pytest.approx(0.8)


def test_there_is_no_share_where_the_pooled_gain_is_not_shown(cells: Cells, study: Study) -> None:
    noise = study(cells({"random_init": 0.5, "federated": 0.6, "centralized": 0.505}, spread=0.2))
    loss = study(cells({"random_init": 0.5, "federated": 0.6, "centralized": 0.4}))
    for kept in (noise.gain_kept["overall"], loss.gain_kept["overall"]):
        assert (kept.value, kept.low, kept.high) == (None, None, None)
        assert "pooled pretraining was not shown to gain over random weights" in kept.reason
    assert "sum of gains -0.600, 95% interval -0.600 to -0.600" in loss.gain_kept["overall"].reason  # 6 times -0.1


def test_an_arm_that_the_study_lacks_leaves_no_share(cells: Cells, study: Study) -> None:
    found = study([one for one in cells() if one.arm != "centralized"], arms=("random_init", "federated"))
    assert found.gain_kept["overall"].value is None
    assert {one.against for one in found.gains} == {"random_init"}


def test_holm_runs_over_the_core_comparisons_with_random_weights_alone(cells: Cells, study: Study) -> None:
    found = study(cells(), bootstrap=199)
    core = [one for one in found.gains if (one.arm, one.against) == ("federated", "random_init")]
    assert len(core) == 6
    # The gain is the same in every draw: p = 2 / (199 + 1), adjusted six times that.
    assert [one.p for one in core] == pytest.approx([0.01] * 6)
    assert [one.p_holm for one in core] == pytest.approx([0.06] * 6)
    others = [one for one in found.gains if one not in core]
    assert {one.p_holm for one in others} == {None}
    assert {(one.arm, one.against) for one in others if one.p is not None} == {("federated", "centralized")}


def test_a_further_task_is_not_adjusted_and_not_in_the_headline(cells: Cells, study: Study) -> None:
    found = study(cells(), core_tasks=("mass",), bootstrap=199)
    assert found.gain("head", "federated", 32).p_holm is None
    assert found.gain("mass", "federated", 32).p_holm == pytest.approx(3 * 0.01)  # three budgets


def test_the_labels_with_which_an_arm_reaches_random_weights_with_all(cell: Callable[..., Cell], study: Study) -> None:
    found = {(one.task, one.arm): one for one in study(_leveled(cell, LEVELS)).reach}
    # mass: random weights with all labels 0.6, federated 0.3, 0.6, 0.7. head: 0.7, and 0.65, 0.69, 0.7.
    assert (found["mass", "federated"].reached, found["mass", "federated"].shown) == (32, 32)
    assert (found["head", "federated"].reached, found["head", "federated"].shown) == ("all", 32)  # 0.69 > 0.7 - 0.02
    assert (found["head", "random_init"].reached, found["head", "random_init"].shown) == ("all", "all")


def test_a_spread_that_is_wider_than_the_margin_is_not_shown_to_reach(cell: Callable[..., Cell], study: Study) -> None:
    levels = {arm: {("mass", 8): 0.6, ("mass", "all"): 0.6} for arm in ("random_init", "centralized")}
    cells = _leveled(cell, levels)
    cells += [cell("mass", "federated", budget, draw, {"w": 0.4, "x": 0.8, "y": 0.7, "z": 0.6})
              for budget in (8, "all") for draw in range(2)]  # fmt: skip
    found = study(cells, core_tasks=("mass",), tasks={"mass": "Dice"}, budgets=(8, "all"))
    (one,) = [one for one in found.reach if one.arm == "federated"]
    assert (one.reached, one.shown, one.reason) == (8, None, "with no budget that was run")


def test_without_random_weights_with_all_labels_nothing_is_reached(cells: Cells, study: Study) -> None:
    found = study([one for one in cells() if one.budget != "all"], budgets=(8, 32))
    assert {one.reached for one in found.reach} == {None}
    assert {one.reason for one in found.reach} == {"random weights with all labels have no score: not run"}
