"""A cell of the study: one arm, fine-tuned once for one task with one budget of labelled patients.

The runner writes a cell as JSON when it is done; what is read back is checked field by field.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from core.errors import CheckpointError, DataError
from core.evaluation.gain import ByPatient, PatientScore
from core.evaluation.intervals import recall_in_draws
from core.evaluation.label_efficiency.budgets import Budget

# P patients, C classes, 2 right and total

TOLERANCE = 1e-5
"""How far `value` may be from what `by_patient` gives: single precision of a score of size 1, with room."""
MOST_NAMED = 5
"""Problems of a cell that a message lists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """What one fine-tuning gave. Scores are of the test patients, all the same for one task."""

    task: str
    arm: str
    budget: Budget
    """Labelled training patients that were asked for, or "all"."""
    draw: int
    """Which draw of labelled patients and fine-tuning seed, from 0; draw d is the same for every arm."""
    patients: int
    """Labelled training patients that were used; 0 where the cell is undefined for want of patients."""
    value: float | None
    """Primary metric, higher is better: what `score` makes of `by_patient`. None where it is undefined."""
    reason: str = ""
    """Why there is no value."""
    by_patient: ByPatient
    """Test patient -> score (mean over the patient's images), or (right, total) a class; empty without a value."""
    metrics: Mapping[str, Mapping[str, Any]]
    """Further metrics: name -> value, low, high, reason."""
    validation: float | None
    """Best validation score, in the primary metric; None where nothing was trained."""
    steps: int
    """Optimizer steps that were taken, >= 0."""
    best_step: int
    """The step whose weights were kept, 0 to `steps`."""
    seconds: float
    """Fine-tuning and scoring, wall clock, >= 0."""
    images: int
    """Training images that were drawn, >= 0."""

    def __post_init__(self) -> None:
        """Check ranges; raises DataError with every problem."""
        if found := list(_problems(self)):
            raise DataError(found[:MOST_NAMED], title=f"cell {self.name}")

    @property
    def name(self) -> str:
        """Task, arm, budget and draw, for messages."""
        return f"{self.task}/{self.arm}/{self.budget}/{self.draw}"

    def document(self) -> dict[str, Any]:
        """The cell as JSON; `cell_from` reads it."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        found["by_patient"] = {
            patient: one if isinstance(one, int | float) else [list(pair) for pair in one]
            for patient, one in self.by_patient.items()
        }
        found["metrics"] = {metric: dict(entry) for metric, entry in self.metrics.items()}
        return found


def score(by_patient: ByPatient) -> float:
    """The primary metric: mean of the patients' scores, or the mean over classes of right / total.

    Raises:
        DataError: No patient, or patients with different numbers of classes.
    """
    ones_1P = np.ones((1, len(by_patient)))
    return float(recall_in_draws(sums_of(by_patient), ones_1P)[0])


def sums_of(by_patient: ByPatient) -> np.ndarray:
    """Right and total of each patient, by name, and class, float64 (P, C, 2); a score s is (s, 1) of one class."""
    rows = [_pairs(by_patient[patient]) for patient in sorted(by_patient)]
    if len({len(row) for row in rows}) != 1:
        raise DataError("scores by patient: no patient, or patients with different numbers of classes")
    return np.array(rows, dtype=np.float64)


def _pairs(one: PatientScore) -> Sequence[Sequence[float]]:
    return [(one, 1.0)] if isinstance(one, int | float) else one


class Cost(NamedTuple):
    """What cells took."""

    cells: int
    seconds: float
    """Wall clock, summed over processes."""
    steps: int
    images: int


def cost_of(cells: Collection[Cell]) -> Cost:
    """The sums over some cells."""
    return Cost(
        cells=len(cells),
        seconds=sum(cell.seconds for cell in cells),
        steps=sum(cell.steps for cell in cells),
        images=sum(cell.images for cell in cells),
    )


def cell_from(content: Any, *, place: str) -> Cell:
    """A cell from its JSON.

    Args:
        content: What the JSON holds.
        place: The file, for messages.

    Raises:
        CheckpointError: A field is missing, unknown, of another type or out of its range; all are named.
    """
    if not isinstance(content, dict):
        raise CheckpointError(f"{place}: holds no cell; remove the file to compute it again")
    known = {field.name for field in fields(Cell)}
    problems = [f"{name} is missing" for name in sorted(known - content.keys())]
    problems += [f"{name} is not known" for name in sorted(map(str, content.keys() - known))]
    problems += [f"{name} is {_short(content[name])}, not {_TYPES[name][1]}"
                 for name in _TYPES if name in content and not _TYPES[name][0](content[name])]  # fmt: skip
    if problems:
        named = "; ".join(problems[:MOST_NAMED])
        raise CheckpointError(f"{place}: not a cell ({named}); remove the file to compute it again")
    try:
        return Cell(**content)
    except DataError as error:
        raise CheckpointError(f"{place}: {error}; remove the file to compute it again") from error


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:39]}…"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_score(value: Any) -> bool:
    """A number, or at least one pair of numbers."""
    return _is_number(value) or (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair)) for pair in value)
    )


def _is_estimate(value: Any) -> bool:
    return isinstance(value, dict) and all(
        value.get(key) is None or _is_number(value[key]) for key in ("value", "low", "high")
    )


_Type = tuple[Callable[[Any], bool], str]
"""Whether a value is of it, and what it is called."""
_TEXT: _Type = (lambda value: isinstance(value, str), "a text")
_WHOLE: _Type = (_is_whole, "a whole number")
_NUMBER: _Type = (_is_number, "a finite number")
_MAYBE: _Type = (lambda value: value is None or _is_number(value), "a finite number or null")
_TYPES: dict[str, _Type] = {
    "task": _TEXT, "arm": _TEXT, "reason": _TEXT,
    "budget": (lambda value: value == "all" or _is_whole(value), 'a whole number or "all"'),
    "draw": _WHOLE, "patients": _WHOLE, "steps": _WHOLE, "best_step": _WHOLE, "images": _WHOLE,
    "seconds": _NUMBER, "value": _MAYBE, "validation": _MAYBE,
    "by_patient": (
        lambda value: isinstance(value, dict) and all(map(_is_score, value.values())),
        "patients with a number, or pairs of numbers, each",
    ),
    "metrics": (
        lambda value: isinstance(value, dict) and all(map(_is_estimate, value.values())),
        "names with value, low and high each",
    ),
}  # fmt: skip


def _problems(cell: Cell) -> Iterator[str]:
    """What is out of its range, one sentence a field."""
    if not (cell.task and cell.arm):
        yield "task and arm must not be empty"
    if cell.budget != "all" and cell.budget < 1:
        yield f"budget must be at least 1 or 'all', got {cell.budget}"
    for name in ("draw", "patients", "steps", "best_step", "seconds", "images"):
        found = getattr(cell, name)
        if not (math.isfinite(found) and found >= 0):
            yield f"{name} must be finite and at least 0, got {found}"
    if cell.best_step > cell.steps:
        yield f"best_step is {cell.best_step}, beyond the {cell.steps} steps"
    if cell.value is None:
        if not cell.reason:
            yield "reason must say why there is no value"
        if cell.by_patient:
            yield "by_patient must be empty where there is no value"
    else:
        yield from _score_problems(cell, cell.value)


def _score_problems(cell: Cell, value: float) -> Iterator[str]:
    if cell.patients < 1:
        yield f"patients must be at least 1 where there is a value, got {cell.patients}"
    if cell.budget not in ("all", cell.patients):
        yield f"patients is {cell.patients}, the budget {cell.budget}"
    try:
        sums_PC2 = sums_of(cell.by_patient)
    except DataError as error:
        yield str(error)
        return
    if not (np.isfinite(sums_PC2).all() and (sums_PC2[..., 1].sum(axis=1) > 0).all() and (sums_PC2[..., 1] >= 0).all()):
        yield "by_patient must hold finite scores, and totals of which none is below 0 and one above"
        return
    expected = score(cell.by_patient)
    if not abs(value - expected) <= TOLERANCE * max(1.0, abs(expected)):
        yield f"value is {value}, by_patient gives {expected}"
