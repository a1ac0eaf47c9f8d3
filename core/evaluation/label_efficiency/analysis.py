"""From the cells of a study to all that its tables, figures and pages say; see `bootstrap` for what intervals mean."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.errors import CheckpointError, ConfigError, DataError
from core.evaluation.formats import words
from core.evaluation.intervals import Gap
from core.evaluation.label_efficiency.bootstrap import Estimate, Sampled, Scores, sample_scores
from core.evaluation.label_efficiency.budgets import Budget, Undefined, budget_label
from core.evaluation.label_efficiency.cells import Cell, cell_from
from core.evaluation.label_efficiency.design import FLOOR, Design, Grid, Key
from core.evaluation.label_efficiency.gains import Gain, Reach, all_gains, all_reached, gains_kept
from core.evaluation.label_efficiency.goals import Verdict, verdicts
from core.evaluation.label_efficiency.looks import PUBLIC, arm_name

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """All numbers of the study."""

    design: Design
    seed: int
    """Of the bootstrap."""
    bootstrap: int
    """Bootstrap draws."""
    grid: Grid
    cells: tuple[Cell, ...]
    scores: Mapping[Key, Estimate]
    """Mean over draws of the primary metric."""
    gains: tuple[Gain, ...]
    gain_kept: Mapping[str, Gap]
    """`overall` and every task."""
    reach: tuple[Reach, ...]
    goals: tuple[Verdict, ...]
    left_out: tuple[str, ...]
    """What has no score and why, a sentence a reason."""

    def gain(self, task: str, arm: str, budget: Budget, *, against: str = FLOOR) -> Gain | None:
        """One comparison; None where the study does not make it."""
        wanted = (task, arm, against, budget)
        return next((one for one in self.gains if (one.task, one.arm, one.against, one.budget) == wanted), None)

    def document(self) -> dict[str, Any]:
        """As JSON, with every cell; `analysis_from` reads it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "design": self.design.document(),
            "seed": self.seed,
            "bootstrap": self.bootstrap,
            "gain_kept": {name: asdict(gap) for name, gap in self.gain_kept.items()},
            "goals": [asdict(one) for one in self.goals],
            "reach": [one.document() for one in self.reach],
            "gains": [one.document() for one in self.gains],
            "scores": [
                {"task": task, "arm": arm, "budget": budget, "patients": self.grid.patients(task, budget),
                 "metric": self.design.tasks[task], **one.document()}
                for (task, arm, budget), one in self.scores.items()
            ],
            "left_out": list(self.left_out),
            "limits": limits(self.design),
            "cells": [cell.document() for cell in self.cells],
        }  # fmt: skip


def analyse(
    cells: Sequence[Cell],
    *,
    arms: Sequence[str],
    core_tasks: Sequence[str],
    tasks: Mapping[str, str],
    budgets: Sequence[Budget],
    draws: int,
    seed: int,
    bootstrap: int = 2000,
) -> Analysis:
    """What the cells say together. Cells that were not run yet may be missing; it is said what they leave open.

    Args:
        cells: In any order.
        arms: In the order of tables; `random_init` must be among them.
        core_tasks: The tasks of the headline, named before the run.
        tasks: Every task -> its primary metric in words, for example Dice.
        budgets: Every budget of the core tasks; another task has those that its cells have.
        draws: Draws of labelled patients, >= 1; a cell's draw is below it.
        seed: Seed of the bootstrap.
        bootstrap: Bootstrap draws, >= 1.

    Raises:
        ConfigError: A design that says nothing or contradicts itself.
        DataError: Cells that are not of the design, or that saw other patients than their neighbours.
    """
    if bootstrap < 1:
        raise ConfigError(f"label-efficiency study: bootstrap must be at least 1, got {bootstrap}")
    design = Design(arms=tuple(arms), core_tasks=tuple(core_tasks), tasks=dict(tasks), budgets=tuple(budgets),
                    draws=draws)  # fmt: skip
    grid = Grid(cells, design)
    sampled = sample_scores(grid, seed=seed, bootstrap=bootstrap)
    gains, reach, kept = all_gains(sampled, grid), all_reached(sampled, grid), gains_kept(sampled, grid)
    return Analysis(
        design=design, seed=seed, bootstrap=bootstrap, grid=grid,
        cells=tuple(cell for key in grid.keys() for cell in grid.runs(key)),  # noqa: SIM118 -- no mapping
        scores={key: one.estimate if isinstance(one, Sampled) else Estimate(reason=one.reason)
                for key, one in sampled.items()},
        gains=tuple(gains), gain_kept=kept, reach=tuple(reach),
        goals=tuple(verdicts(sampled, grid, kept)), left_out=tuple(_left_out(sampled)),
    )  # fmt: skip


def analysis_from(content: Any, *, place: str) -> Analysis:
    """The analysis of a `metrics.json`, computed again from its cells, so that the two cannot disagree.

    Args:
        content: What the JSON holds.
        place: The file, for messages.

    Raises:
        CheckpointError: It is not what a study writes.
    """
    found = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(content, dict) or found != SCHEMA_VERSION or not isinstance(content.get("cells"), list):
        raise CheckpointError(
            f"{place}: no results of a label-efficiency study of schema version {SCHEMA_VERSION} (found {found})"
        )
    if wrong := [name for name in ("seed", "bootstrap") if type(content.get(name)) is not int]:
        raise CheckpointError(f"{place}: {' and '.join(wrong)} must be whole numbers; copy the file again")
    cells = [cell_from(one, place=f"{place}, cell {number}") for number, one in enumerate(content["cells"])]
    try:
        return analyse(cells, **content["design"], seed=content["seed"], bootstrap=content["bootstrap"])
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError, DataError) as error:
        raise CheckpointError(f"{place}: not what a study writes ({error}); copy the file again") from error


def limits(design: Design) -> list[str]:
    """What the study cannot say, as sentences."""
    further = [words(task) for task in design.tasks if task not in design.core_tasks]
    said = [
        "Draws take the few training seeds of the pretraining in turn: intervals hardly cover another pretraining, and "
        "neither other hospitals nor another division of the patients.",
        f"Intervals are over test patients and {design.draws} draw{'s' if design.draws > 1 else ''} of labelled "
        "patients with their fine-tuning seeds; so few draws hardly show how much draws differ.",
        "The share of the gain that is kept adds scores of different metrics, all from 0 to 1, with equal weight.",
    ]
    if any(arm.split(":")[0] == PUBLIC for arm in design.arms):
        said.append("Public weights may have seen the test patients; they get images normalized as the other arms do, "
                    "and are scored at the image side that they take.")  # fmt: skip
    if further:
        said.append(f"Descriptive only, with few patients or one budget: {', '.join(further)}.")
    return said


def _left_out(scores: Scores) -> list[str]:
    """One sentence a task, budget and reason, with the arms that it concerns."""
    found: dict[tuple[str, Budget, str], list[str]] = {}
    for (task, arm, budget), one in scores.items():
        if isinstance(one, Undefined):
            found.setdefault((task, budget, one.reason), []).append(arm_name(arm))
    arms = len({arm for _, arm, _ in scores})
    return [
        f"{words(task)}, {budget_label(budget)}: {reason} ({'every arm' if len(names) == arms else ', '.join(names)})."
        for (task, budget, reason), names in found.items()
    ]
