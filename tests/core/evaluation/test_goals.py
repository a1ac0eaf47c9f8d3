"""Goals: what a file may say, and when a run met them."""

from importlib.resources import files
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.evaluation.goals import Goal, judge, read_goals


def _goal(field: str, rule: str, bound: float) -> Goal:
    return Goal(text="g", field=field, rule=rule, bound=bound)


@pytest.mark.parametrize(
    ("rule", "bound", "verdict"),
    [("above", 0.5, "missed"), ("at_least", 0.5, "met"), ("below", 0.5, "missed"), ("at_most", 0.5, "met"),
     ("above", 0.4, "met"), ("below", 0.6, "met"), ("at_least", 0.6, "missed"), ("at_most", 0.4, "missed")],
)  # fmt: skip
def test_a_bound_is_met_or_missed(rule: str, bound: float, verdict: str) -> None:
    ((_, found, value),) = judge([_goal("gap_closed.low", rule, bound)], {"gap_closed": {"low": 0.5}})
    assert (found, value) == (verdict, 0.5)


@pytest.mark.parametrize("field", ["gap_closed.low", "absent.x", "name", "comparisons.x:<rarest>.high", "seeds.a"])
def test_what_is_not_there_was_not_measured(field: str) -> None:
    metrics = {"gap_closed": {"low": None}, "name": "run", "seeds": [1]}
    assert judge([_goal(field, "above", 0)], metrics)[0][1:] == ("not measured", None)


def test_the_rarest_organ_is_filled_in_and_a_list_is_counted() -> None:
    metrics = {"rarest": ["liver"], "seeds": [3, 4], "comparisons": {"x:liver": {"high": -0.2}}}
    judged = judge([_goal("comparisons.x:<rarest>.high", "below", 0), _goal("seeds", "at_least", 2)], metrics)
    assert [found[1:] for found in judged] == [("met", -0.2), ("met", 2.0)]


def test_the_goals_that_are_shipped_can_be_read() -> None:
    goals = read_goals(Path(str(files("configs") / "goals.yaml")))
    assert goals[0].field == "gap_closed.value"
    assert all(goal.text for goal in goals)


def test_every_problem_of_a_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "goals.yaml"
    path.write_text(
        "- {goal: a, field: b}\n- 3\n- {goal: a, field: 1, above: x, odd: 2}\n- {goal: a, field: b, above: 1, below: 2}"
    )
    with pytest.raises(ConfigError) as error:
        read_goals(path)
    assert error.value.problems == (
        "goal 1: needs exactly one of above, below, at_least, at_most",
        "goal 2: must hold goal, field and a bound",
        "goal 3: field must be a text",
        "goal 3: above must be a number",
        "goal 3: unknown: odd",
        "goal 4: needs exactly one of above, below, at_least, at_most",
    )


@pytest.mark.parametrize("text", ["a: b", "[", "\x00"])
def test_a_file_that_holds_no_list_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "goals.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"goals\.yaml: (must be a list|cannot be read)"):
        read_goals(path)
