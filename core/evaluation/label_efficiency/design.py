"""What a study set out to run, and whether its cells can be compared: the same patients and draws for every arm."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError, DataError
from core.evaluation.label_efficiency.budgets import Budget, Undefined, budget_order
from core.evaluation.label_efficiency.cells import Cell, sums_of

FLOOR, OURS, REFERENCE = "random_init", "federated", "centralized"
"""The arms that the headline compares."""
MOST_NAMED = 10
"""Problems that a message lists."""

Key = tuple[str, str, Budget]
"""Task, arm, budget: the cells of all draws."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """The grid. What a run has not done of it is said, not left out silently."""

    arms: tuple[str, ...]
    """`random_init` and at least one more, in the order of tables."""
    core_tasks: tuple[str, ...]
    """Tasks of the headline, named before the run; each is run with every budget."""
    tasks: Mapping[str, str]
    """Every task, core ones too -> its primary metric in words, for example Dice. The metric is higher when better."""
    budgets: tuple[Budget, ...]
    draws: int
    """Draws of labelled patients with their fine-tuning seeds, >= 1."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError with every problem."""
        problems = [f"arm {arm!r} is listed twice" for arm, times in Counter(self.arms).items() if times > 1]
        problems += [f"core task {task!r} is no task" for task in self.core_tasks if task not in self.tasks]
        problems += [f"budget {one!r} is listed twice" for one, times in Counter(self.budgets).items() if times > 1]
        if FLOOR not in self.arms:
            problems.append(f"arms must hold {FLOOR}, which gains are measured from")
        if not (self.core_tasks and self.budgets and self.draws >= 1):
            problems.append("there must be a core task, a budget and a draw at least")
        if problems:
            raise ConfigError(problems, title="label-efficiency study")

    @property
    def ordered(self) -> list[Budget]:
        """Budgets from the smallest to all."""
        return sorted(self.budgets, key=budget_order)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"arms": list(self.arms), "core_tasks": list(self.core_tasks), "tasks": dict(self.tasks),
                "budgets": list(self.budgets), "draws": self.draws}  # fmt: skip


class Grid:
    """The cells by task, arm and budget, checked.

    A core task has every budget; another task has those that any of its cells has.

    Args:
        cells: In any order; those that were not run may be missing.
        design: What was to be run.

    Raises:
        DataError: With every cell that is not of the design or there twice, and where arms saw other patients.
    """

    def __init__(self, cells: Sequence[Cell], design: Design) -> None:
        if problems := [*_strangers(cells, design), *_unpaired(cells)]:
            raise DataError(problems[:MOST_NAMED], title="label-efficiency cells")
        self.design = design
        self._cells: dict[Key, dict[int, Cell]] = {}
        for cell in sorted(cells, key=lambda cell: cell.draw):
            self._cells.setdefault((cell.task, cell.arm, cell.budget), {})[cell.draw] = cell
        found = {(task, budget) for task, _, budget in self._cells}
        self.budgets = {
            task: [one for one in design.ordered if task in design.core_tasks or (task, one) in found]
            for task in design.tasks
        }
        """Task -> its budgets, from the smallest."""

    def keys(self) -> list[Key]:
        """Every task, arm and budget of the design."""
        return [(task, arm, budget) for task in self.design.tasks
                for budget in self.budgets[task] for arm in self.design.arms]  # fmt: skip

    def runs(self, key: Key) -> list[Cell]:
        """The cells of a key by draw; without those that were not run."""
        return [*self._cells.get(key, {}).values()]

    def defined(self, key: Key) -> list[Cell] | Undefined:
        """The cells of all draws, or why the key has no score: one draw without a value is enough."""
        cells = self._cells.get(key, {})
        reasons = {draw: "not run" if draw not in cells else cells[draw].reason for draw in range(self.design.draws)
                   if draw not in cells or cells[draw].value is None}  # fmt: skip
        if not reasons:
            return [*cells.values()]
        if len(reasons) == self.design.draws and len({*reasons.values()}) == 1:
            return Undefined(reasons[0])
        return Undefined("; ".join(f"draw {draw}: {reason}" for draw, reason in reasons.items()))

    def patients(self, task: str, budget: Budget) -> int | None:
        """Labelled patients of a budget, the most of any draw; None where no cell has a value."""
        counts = [cell.patients for arm in self.design.arms for cell in self.runs((task, arm, budget))
                  if cell.value is not None]  # fmt: skip
        return max(counts, default=None)

    def missing(self) -> int:
        """Cells of the design that were not run."""
        return sum(self.design.draws - len(self.runs(key)) for key in self.keys())


def _strangers(cells: Sequence[Cell], design: Design) -> Iterator[str]:
    for cell in cells:
        wrong = [f"{name} {value!r} is not of the study" for name, value, known in (
            ("task", cell.task, design.tasks), ("arm", cell.arm, design.arms),
            ("budget", cell.budget, design.budgets), ("draw", cell.draw, range(design.draws)),
        ) if value not in known]  # fmt: skip
        if wrong:
            yield f"cell {cell.name}: {', '.join(wrong)}; remove its file or fix the configuration"
    for name, times in Counter(cell.name for cell in cells).items():
        if times > 1:
            yield f"cell {name} is there {times} times; keep one file"


def _unpaired(cells: Sequence[Cell]) -> Iterator[str]:
    """Arms that did not label equally many patients, or were not scored on the same ones."""
    labelled: dict[tuple[str, Budget, int], Cell] = {}
    tested: dict[str, Cell] = {}
    for cell in (cell for cell in cells if cell.value is not None):
        first = labelled.setdefault((cell.task, cell.budget, cell.draw), cell)
        if first.patients != cell.patients:
            yield (
                f"{cell.name} labelled {cell.patients} patients and {first.name} {first.patients}; every arm must get "
                "the same labelled patients, so run the study again"
            )
        like = tested.setdefault(cell.task, cell)
        if like.by_patient.keys() != cell.by_patient.keys():
            yield (
                f"{cell.name} and {like.name} are scored on different patients; fix the test patients in the "
                "manifest's split column and run the study again"
            )
        elif sums_of(like.by_patient).shape != sums_of(cell.by_patient).shape:
            yield f"{cell.name} and {like.name} are scored with different numbers of classes; run the study again"
