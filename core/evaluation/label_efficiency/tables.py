"""The study as tables of plain text, the same for HTML, Markdown and the terminal."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.evaluation.formats import NONE, count, difference, seconds, share, with_interval, words
from core.evaluation.label_efficiency.analysis import Analysis
from core.evaluation.label_efficiency.budgets import Budget, budget_label
from core.evaluation.label_efficiency.cells import Cell, cost_of
from core.evaluation.label_efficiency.design import FLOOR, OURS, REFERENCE
from core.evaluation.label_efficiency.looks import arm_name
from core.evaluation.marks import finite
from core.evaluation.result_tables import Table


def task_name(analysis: Analysis, task: str) -> str:
    """`breast lesion mask, Dice (all: 312 patients)`."""
    patients = analysis.grid.patients(task, "all") if "all" in analysis.grid.budgets[task] else None
    counted = f" (all: {patients} patients)" if patients else ""
    return f"{words(task)}, {analysis.design.tasks[task]}{counted}"


def scores(analysis: Analysis) -> Table:
    """A row a task and arm: the score at every budget, with its interval."""
    rows = [
        [task_name(analysis, task), *_scores(analysis, task, arm, analysis.design.ordered)]
        for task in analysis.design.tasks
        for arm in analysis.design.arms
    ]
    head = ["task, metric", "arm", *map(budget_label, analysis.design.ordered)]
    return Table(head, rows if analysis.cells else [], words=(1,))


def task_scores(analysis: Analysis, task: str) -> Table:
    """A row an arm: the score at every budget of the task, with its interval."""
    budgets = analysis.grid.budgets[task]
    rows = [_scores(analysis, task, arm, budgets) for arm in analysis.design.arms]
    return Table(["arm", *map(budget_label, budgets)], rows if budgets else [])


def _scores(analysis: Analysis, task: str, arm: str, budgets: Sequence[Budget]) -> list[str]:
    found = [analysis.scores.get((task, arm, budget)) for budget in budgets]
    return [arm_name(arm), *(with_interval(one.document(), share) if one else NONE for one in found)]


def gains(analysis: Analysis) -> Table:
    """A row a task and budget: every arm's gain over random weights, and federated against pooled."""
    arms = [arm for arm in analysis.design.arms if arm != FLOOR]
    pairs = [(arm, FLOOR) for arm in arms] + ([(OURS, REFERENCE)] if {OURS, REFERENCE} <= {*arms} else [])
    head = ["task", "labelled patients"]
    for arm, against in pairs:
        head.append(f"{arm_name(arm)} − {arm_name(against)}")
        head += ["p", "p, Holm"] if (arm, against) == (OURS, FLOOR) else ["p"] if arm == OURS else []
    rows = []
    for task, budgets in analysis.grid.budgets.items():
        for budget in budgets:
            row = [words(task), str(budget)]
            for arm, against in pairs:
                found = analysis.gain(task, arm, budget, against=against)
                row.append(with_interval(found.estimate.document(), difference) if found else NONE)
                if arm == OURS:
                    row.append(p_text(found.p if found else None))
                if (arm, against) == (OURS, FLOOR):
                    row.append(p_text(found.p_holm if found else None))
            rows.append(row)
    return Table(head, rows if pairs else [], words=(1,))


def p_text(p: float | None) -> str:
    """A p-value with three decimals."""
    if p is None:
        return NONE
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def kept(analysis: Analysis) -> Table:
    """The share of the pooled gain that the federation keeps: overall, then by task."""
    rows = [
        [_kept_name(analysis, name), with_interval({"value": gap.value, "low": gap.low, "high": gap.high}, share),
         gap.reason or NONE]
        for name, gap in analysis.gain_kept.items()
    ]  # fmt: skip
    return Table(["task", "gain kept", "note"], rows, words=(2,))


def _kept_name(analysis: Analysis, name: str) -> str:
    if name not in analysis.design.tasks:
        return "all core tasks"
    return words(name) + ("" if name in analysis.design.core_tasks else " (descriptive)")


def reach(analysis: Analysis) -> Table:
    """The labelled patients with which each arm does as well as random weights with all labels."""
    rows = []
    for one in analysis.reach:
        if (one.task, FLOOR, "all") in analysis.scores:
            reached, shown = (_labels(analysis, one.task, budget) for budget in (one.reached, one.shown))
            rows.append([words(one.task), arm_name(one.arm), reached, shown, one.reason or NONE])
    head = ["task", "arm", "score reaches it", "lower bound within 0.02", "note"]
    return Table(head, rows, words=(1, 4))


def _labels(analysis: Analysis, task: str, budget: Budget | None) -> str:
    if budget is None:
        return NONE
    return f"all: {analysis.grid.patients(task, budget)}" if budget == "all" else str(budget)


def goals(analysis: Analysis) -> Table:
    """Every goal, whether it was met, and on what evidence."""
    said = {True: "met", False: "missed", None: "not measured"}
    rows = [[one.text, said[one.met], one.evidence] for one in analysis.goals]
    return Table(["goal", "verdict", "evidence"], rows, words=(1, 2))


def cost(analysis: Analysis) -> Table:
    """Fine-tuning by task and arm, and in all: cells, time summed over processes, images drawn."""

    def row(names: Sequence[str], cells: Sequence[Cell]) -> list[str]:
        spent = cost_of(cells)
        speed = f"{spent.images / spent.seconds:,.0f}" if spent.seconds > 0 else NONE
        told = [count(spent.cells), seconds(spent.seconds), count(spent.steps), count(spent.images), speed]
        return [*names, *told]

    rows = [
        row([words(task), arm_name(arm)], own)
        for task in analysis.design.tasks
        for arm in analysis.design.arms
        if (own := [cell for cell in analysis.cells if (cell.task, cell.arm) == (task, arm)])
    ]
    rows += [row(["all", ""], analysis.cells)] if rows else []
    head = ["task", "arm", "cells", "time", "steps", "images", "images a second"]
    return Table(head, rows, words=(1,))


def further(analysis: Analysis, task: str) -> Table:
    """Further metrics of a task, mean over the draws that have them: a row a budget and arm."""
    own = [cell for cell in analysis.cells if cell.task == task]
    names = list(dict.fromkeys(name for cell in own for name in cell.metrics))
    rows = []
    for budget in analysis.grid.budgets[task]:
        for arm in analysis.design.arms:
            cells = [cell for cell in own if (cell.budget, cell.arm) == (budget, arm)]
            values = [_mean([cell.metrics.get(name, {}).get("value") for cell in cells]) for name in names]
            rows.append([str(budget), arm_name(arm), *values])
    return Table(["labelled patients", "arm", *map(words, names)], rows if names else [], words=(1,))


def _mean(values: Sequence[Any]) -> str:
    known = [number for number in map(finite, values) if number is not None]
    return share(float(np.mean(known))) if known else NONE
