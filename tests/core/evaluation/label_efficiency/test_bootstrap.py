"""Paired draws of patients and labelled draws, p-values and Holm's adjustment."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.label_efficiency.bootstrap import Sampled, holm, p_value, sample_scores
from core.evaluation.label_efficiency.budgets import Undefined
from core.evaluation.label_efficiency.cells import Cell
from core.evaluation.label_efficiency.design import Design, Grid

Make = Callable[..., Cell]
DESIGN = Design(arms=("random_init", "federated"), core_tasks=("mass",), tasks={"mass": "Dice"}, budgets=(8,), draws=2)


def _scores(cells: list[Cell], design: Design = DESIGN, bootstrap: int = 2000) -> dict:
    return sample_scores(Grid(cells, design), seed=0, bootstrap=bootstrap)


def test_a_score_is_the_mean_over_draws_and_its_interval_reaches_from_the_worst_draw_to_the_best(cell: Make) -> None:
    cells = [cell("mass", arm, 8, draw, dict.fromkeys("xy", level))
             for arm in DESIGN.arms for draw, level in enumerate((0.4, 0.6))]  # fmt: skip
    one = _scores(cells)["mass", "federated", 8].estimate
    # Two draws: a quarter of the samples is the first twice, a quarter the second twice.
    assert (one.value, one.low, one.high) == pytest.approx((0.5, 0.4, 0.6))


def test_patients_and_draws_are_the_same_for_both_arms_so_what_they_share_falls_out(cell: Make) -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(scale=0.1, size=(2, 30))
    cells = [cell("mass", arm, 8, draw, {f"p{i}": level + hard[draw, i] for i in range(30)})
             for arm, level in (("random_init", 0.5), ("federated", 0.6)) for draw in range(2)]  # fmt: skip
    scores = _scores(cells)
    ours, floor = scores["mass", "federated", 8], scores["mass", "random_init", 8]
    assert ours.estimate.high - ours.estimate.low > 0.03
    gain = (ours - floor).estimate
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.1, 0.1, 0.1))


def test_the_width_over_patients_is_that_of_a_mean(cell: Make) -> None:
    values = np.random.default_rng(1).normal(0.5, 0.1, 50)
    cells = [cell("mass", arm, 8, draw, {f"p{i}": float(value) for i, value in enumerate(values)})
             for arm in DESIGN.arms for draw in range(2)]  # fmt: skip
    one = _scores(cells)["mass", "federated", 8].estimate
    assert one.high - one.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(50), rel=0.1)


def test_tasks_with_the_same_patients_draw_them_together(cell: Make) -> None:
    tasks = {"mass": "Dice", "again": "Dice"}
    design = Design(arms=DESIGN.arms, core_tasks=("mass", "again"), tasks=tasks, budgets=(8,), draws=2)
    by_patient = {f"p{i}": i / 10 for i in range(10)}
    cells = [cell(task, arm, 8, draw, by_patient) for task in tasks for arm in design.arms for draw in range(2)]
    scores = _scores(cells, design, bootstrap=50)
    assert np.array_equal(scores["mass", "federated", 8].draws_R, scores["again", "federated", 8].draws_R)
    assert scores["mass", "federated", 8].draws_R.std() > 0


def test_a_class_counts_by_its_own_total(cell: Make) -> None:
    pairs = {"x": [[3, 4], [1, 2]]}
    cells = [cell("mass", arm, 8, draw, pairs) for arm in DESIGN.arms for draw in range(2)]
    assert _scores(cells)["mass", "federated", 8].value == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_what_was_not_run_has_no_score(cell: Make) -> None:
    scores = _scores([cell("mass", "federated", 8, 0, {"x": 0.5})])
    assert scores == {("mass", "random_init", 8): Undefined("not run"),
                      ("mass", "federated", 8): Undefined("draw 1: not run")}  # fmt: skip


def test_sums_and_differences_go_draw_by_draw() -> None:
    one, other = Sampled(1.0, np.array([1.0, 3.0])), Sampled(0.5, np.array([2.0, 1.0]))
    assert ((one - other).value, (one - other).draws_R.tolist()) == (0.5, [-1.0, 2.0])
    assert ((one + other).value, (one + other).draws_R.tolist()) == (1.5, [3.0, 4.0])


def test_p_counts_the_draws_on_the_other_side() -> None:
    # 2 of 99 draws at or below zero: 2 * (1 + 2) / (99 + 1).
    assert p_value(np.array([-0.1, 0.0] + [0.2] * 97)) == pytest.approx(0.06)
    assert p_value(np.array([0.1, 0.0] + [-0.2] * 97)) == pytest.approx(0.06)  # two-sided
    assert p_value(np.full(99, 0.2)) == pytest.approx(2 / 100)  # never 0
    assert p_value(np.zeros(99)) == 1.0


def test_holm_on_numbers_that_were_worked_out_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04; the last may not fall below 0.06.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.4]) == pytest.approx([0.8, 0.8])  # 2 * 0.4, then max(0.8, 0.6)
    assert holm([0.9, 0.8, 0.7]) == [1.0, 1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    for one, own in zip(p, adjusted, strict=True):
        assert one <= own <= min(1.0, len(p) * one)
    assert [own for _, own in sorted(zip(p, adjusted, strict=True))] == sorted(adjusted)
