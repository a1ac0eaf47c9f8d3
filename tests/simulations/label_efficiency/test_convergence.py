"""How a task's steps are found: the rule on numbers that fit in the head."""

import pytest

from core.evaluation.intervals import Interval
from simulations.label_efficiency.convergence import Tried, decide, interval_of


def tried(steps: int, value: float, *, half: float = 0.05) -> Tried:
    """A score with an interval of so much on either side."""
    return Tried(steps=steps, score=Interval(value, value - half, value + half))


def test_steps_are_enough_when_twice_as_many_gain_less_than_half_the_interval() -> None:
    # 0.54 - 0.50 = 0.04 < (0.55 - 0.45) / 2 = 0.05
    found = decide([tried(200, 0.50), tried(400, 0.54)], last=False)
    assert found is not None
    assert (found.steps, found.converged) == (200, True)


def test_a_larger_gain_asks_for_more_steps() -> None:
    # 0.56 - 0.50 = 0.06 > 0.05
    assert decide([tried(200, 0.50)], last=False) is None
    assert decide([tried(200, 0.50), tried(400, 0.56)], last=False) is None
    found = decide([tried(200, 0.50), tried(400, 0.56), tried(800, 0.57)], last=True)
    assert found is not None
    assert (found.steps, found.converged) == (400, True)


def test_a_loss_is_no_reason_for_more_steps() -> None:
    found = decide([tried(200, 0.50), tried(400, 0.30)], last=False)
    assert found is not None
    assert (found.steps, found.converged) == (200, True)


def test_where_doublings_run_out_the_most_steps_are_taken_and_it_is_said() -> None:
    found = decide([tried(200, 0.50), tried(400, 0.60)], last=True)
    assert found is not None
    assert (found.steps, found.converged) == (400, False)
    assert "still rose with the last doubling, to 400 steps" in found.note
    assert found.document()["tried"][1] == {
        "steps": 400,
        "value": 0.60,
        "low": pytest.approx(0.55),
        "high": pytest.approx(0.65),
    }


def test_without_a_validation_score_the_tasks_own_steps_are_taken() -> None:
    found = decide([Tried(steps=200, score=None)], last=False)
    assert found is not None
    assert (found.steps, found.converged) == (200, None)
    assert found.document()["tried"] == [{"steps": 200, "value": None, "low": None, "high": None}]


def test_the_score_is_the_mean_over_draws_and_its_interval_over_patients() -> None:
    scores = [{"a": 0.2, "b": 0.4}, {"a": 0.4, "b": 0.6}]
    found = interval_of(scores, seed=0, bootstrap=500)
    # draws of two patients: both a (0.3), one each (0.4), both b (0.5)
    assert found.value == pytest.approx((0.3 + 0.5) / 2)
    assert (found.low, found.high) == (pytest.approx(0.3), pytest.approx(0.5))
