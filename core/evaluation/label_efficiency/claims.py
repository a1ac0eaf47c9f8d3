"""The sentences at the top of the study's pages; none is stronger than its interval."""

from core.evaluation.formats import difference, percent, words
from core.evaluation.label_efficiency.analysis import Analysis
from core.evaluation.label_efficiency.budgets import Budget, budget_label
from core.evaluation.label_efficiency.design import OURS
from core.evaluation.label_efficiency.gains import MARGIN, OVERALL

GAIN = "of what pooled pretraining gains over random weights when both are fine-tuned"

ALPHA = 0.05
"""Adjusted p up to which two arms are said to be told apart."""


def sentences(analysis: Analysis) -> list[str]:
    """The share of the gain that is kept first; then gains with few labels, the labels saved, what is open."""
    return [text for text in (kept(analysis), *few_labels(analysis), *saved(analysis), unfinished(analysis)) if text]


def over(analysis: Analysis) -> str:
    """What an interval of the study speaks of."""
    draws = analysis.design.draws
    return f"over test patients and {draws} draw{'s' if draws > 1 else ''} of labelled patients"


def kept(analysis: Analysis) -> str:
    """The headline; `Not shown` unless there is a gain to keep and the interval leaves out zero."""
    gap = analysis.gain_kept[OVERALL]
    on = f" ({', '.join(words(task) for task in analysis.design.core_tasks)})"
    if gap.value is None:
        return f"Not shown: how much {GAIN} federation keeps{on}; {gap.reason}."
    if gap.low is None or gap.high is None:
        return f"Not shown: federation kept {percent(gap.value)} {GAIN}{on}, but {gap.reason}."
    interval = f"(95% interval {percent(gap.low)} to {percent(gap.high)} {over(analysis)})"
    if gap.low <= 0 <= gap.high:
        return f"Not shown: federation kept {percent(gap.value)} {GAIN}{on} {interval}, and the interval holds zero."
    if gap.high < 0:
        return f"Federation did worse than random weights: it kept {percent(gap.value)} {interval} {GAIN}{on}."
    return f"Federation kept {percent(gap.value)} {interval} {GAIN}{on}."


def few_labels(analysis: Analysis) -> list[str]:
    """For every budget but all: on which core tasks federated is told apart from random weights, adjusted by Holm."""
    said = []
    for budget in (one for one in analysis.design.ordered if one != "all"):
        groups: dict[str, list[str]] = {"better on": [], "worse on": [], "not told apart on": []}
        for task in analysis.design.core_tasks:
            one = analysis.gain(task, OURS, budget)
            if one is None or one.estimate.value is None or one.p_holm is None:
                continue
            what = "not told apart on" if one.p_holm > ALPHA else "better on" if one.estimate.value > 0 else "worse on"
            groups[what].append(f"{words(task)} ({difference(one.estimate.value)})")
        parts = [f"{what} {', '.join(tasks)}" for what, tasks in groups.items() if tasks]
        if parts:
            said.append(f"With {_labelled(budget)}, federation against random weights: {'; '.join(parts)} "
                        f"(difference of the primary metric; Holm-adjusted p at most {ALPHA:g}).")  # fmt: skip
    return said


def _labelled(budget: Budget) -> str:
    return budget_label(budget).replace(" ", " labelled ", 1)


def saved(analysis: Analysis) -> list[str]:
    """Where federated reaches random weights with all labels, to within the margin, with fewer of them."""
    found = {
        one.task: one.shown for one in analysis.reach if one.arm == OURS and one.task in analysis.design.core_tasks
    }
    fewer = [f"{words(task)} with {budget_label(budget)} of {analysis.grid.patients(task, 'all')}"
             for task, budget in found.items() if budget not in (None, "all")]  # fmt: skip
    if not fewer:
        return []
    return [f"Federation reaches random weights with all labels (lower bound within {MARGIN}) on {', '.join(fewer)}."]


def unfinished(analysis: Analysis) -> str:
    """How much of the grid is not run yet, or nothing."""
    missing = analysis.grid.missing()
    total = missing + len(analysis.cells)
    return f"Unfinished: {missing} of {total} cells were not run; what they decide is left out." if missing else ""
