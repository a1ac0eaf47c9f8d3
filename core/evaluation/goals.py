"""Goals of a study, each a bound on one number of `metrics.json`, and whether a run met them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigError

RAREST = "<rarest>"
"""Stands in a field for the run's rarest organ."""
_RULES = ("above", "below", "at_least", "at_most")


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """One sentence and the number that decides it."""

    text: str
    field: str
    """Dotted place in `metrics.json`; `<rarest>` stands for the rarest organ. A list counts its entries."""
    rule: str
    """above, below, at_least or at_most."""
    bound: float
    """In the field's unit."""


def read_goals(path: Path) -> list[Goal]:
    """The goals of a YAML file: a list of `goal`, `field` and one of above, below, at_least, at_most.

    Raises:
        ConfigError: With every problem of the file.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, list):
        raise ConfigError(f"{path}: must be a list of goals")
    problems = [f"goal {number}: {problem}" for number, entry in enumerate(content, 1) for problem in _problems(entry)]
    if problems:
        raise ConfigError(problems, title=str(path))
    return [_goal(entry) for entry in content]


def _problems(entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield "must hold goal, field and a bound"
        return
    yield from (f"{key} must be a text" for key in ("goal", "field") if not isinstance(entry.get(key), str))
    rules = [key for key in entry if key in _RULES]
    if len(rules) != 1:
        yield f"needs exactly one of {', '.join(_RULES)}"
    elif isinstance(entry[rules[0]], bool) or not isinstance(entry[rules[0]], int | float):
        yield f"{rules[0]} must be a number"
    if unknown := [str(key) for key in entry if key not in ("goal", "field", *_RULES)]:
        yield f"unknown: {', '.join(unknown)}"


def _goal(entry: Mapping[str, Any]) -> Goal:
    rule = next(key for key in _RULES if key in entry)
    return Goal(text=entry["goal"], field=entry["field"], rule=rule, bound=float(entry[rule]))


def judge(goals: Sequence[Goal], metrics: Mapping[str, Any]) -> list[tuple[Goal, str, float | None]]:
    """Each goal with `met`, `missed` or `not measured`, and the number that decided."""
    judged = []
    for goal in goals:
        value = _look_up(metrics, goal.field)
        judged.append((goal, "not measured" if value is None else _verdict(goal, value), value))
    return judged


def _verdict(goal: Goal, value: float) -> str:
    met = {
        "above": value > goal.bound,
        "below": value < goal.bound,
        "at_least": value >= goal.bound,
        "at_most": value <= goal.bound,
    }[goal.rule]
    return "met" if met else "missed"


def _look_up(metrics: Mapping[str, Any], field: str) -> float | None:
    """The number at a dotted place, or None."""
    rarest = next(iter(metrics.get("rarest") or []), None)
    if RAREST in field and rarest is None:
        return None
    found: Any = metrics
    for part in field.replace(RAREST, str(rarest)).split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, list):
        return float(len(found))
    return float(found) if isinstance(found, int | float) else None
