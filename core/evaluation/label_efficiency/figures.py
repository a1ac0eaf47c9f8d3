"""The study's figures: scores over labelled patients, tasks with one budget, gains, and the share that is kept."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from core.evaluation.drawing import STYLE, Drawing, legend, new_figure, plain, to_svg
from core.evaluation.formats import share, words
from core.evaluation.label_efficiency.analysis import Analysis
from core.evaluation.label_efficiency.bootstrap import Estimate
from core.evaluation.label_efficiency.budgets import Budget, budget_label
from core.evaluation.label_efficiency.design import FLOOR, OURS
from core.evaluation.label_efficiency.looks import arm_look, arm_name
from core.evaluation.marks import Mark, dotted, draw_marks

COLUMNS = ("task", "metric", "arm", "budget", "patients", "draw", "value", "low", "high", "reason")


@mpl.rc_context(STYLE)
def curves(analysis: Analysis) -> Drawing | None:
    """A panel a task with several budgets: the score over labelled patients, a line and a band an arm."""
    tasks = [task for task in analysis.design.tasks if len(analysis.grid.budgets[task]) > 1 and _scored(analysis, task)]
    if not tasks:
        return None
    figure, axes = new_figure(1.2 + 2.7 * len(tasks), rows=len(tasks))
    drawn: dict[str, Any] = {}
    for axis, task in zip(axes[:, 0], tasks, strict=True):
        _panel(axis, analysis, task, drawn)
    axes[-1, 0].set_xlabel("labelled training patients, logarithmic")
    legend(figure, drawn)
    return Drawing(
        name="label-efficiency",
        markup=to_svg(figure, alt=f"Scores over labelled patients for {', '.join(map(words, tasks))}."),
        columns=COLUMNS,
        rows=[row for task in tasks for row in _rows(analysis, task)],
    )


def _panel(axis: Axes, analysis: Analysis, task: str, drawn: dict[str, Any]) -> None:
    places: dict[Budget, int] = {
        budget: patients
        for budget in analysis.grid.budgets[task]
        if (patients := analysis.grid.patients(task, budget)) is not None
    }
    arms = analysis.design.arms
    for position, arm in enumerate(arms):
        # Marks stand a little aside, so that equal ones do not hide one another; the band is where it belongs.
        _arm(axis, analysis, task, arm, places, aside=1.025 ** (position - (len(arms) - 1) / 2), drawn=drawn)
    axis.set_xscale("log")
    names = [f"\nall: {place}" if budget == "all" else str(budget) for budget, place in places.items()]
    axis.set_xticks([*places.values()], names)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_title(plain(words(task), most=60))
    axis.set_ylabel(plain(analysis.design.tasks[task]))


def _arm(
    axis: Axes, analysis: Analysis, task: str, arm: str, places: Mapping[Budget, int], *, aside: float,
    drawn: dict[str, Any],
) -> None:  # fmt: skip
    """One arm in one panel: its band, or a bar where it has one point, its line and the single draws."""
    look = arm_look(arm)
    found = {budget: one for budget in places if (one := analysis.scores[task, arm, budget]).value is not None}
    if not found:
        return
    x = [places[budget] for budget in found]
    values, lows, highs = ([getattr(one, name) for one in found.values()] for name in ("value", "low", "high"))
    if len(found) > 1:
        axis.fill_between(x, lows, highs, color=look.colour, alpha=0.13, linewidth=0)
    else:
        axis.vlines([place * aside for place in x], lows, highs, color=look.colour, linewidth=1.2)
    for budget in found:
        own = _draws(analysis, task, arm, budget)
        axis.plot([places[budget] * aside] * len(own), own, ".", color=look.colour, markersize=3.5, alpha=0.6)
    (line,) = axis.plot([place * aside for place in x], values, look.dash, color=look.colour, marker=look.marker,
                        linewidth=look.width, markersize=5.5)  # fmt: skip
    drawn.setdefault(plain(arm_name(arm)), line)


def _draws(analysis: Analysis, task: str, arm: str, budget: Budget) -> list[float]:
    """The values of the single draws."""
    return [cell.value for cell in analysis.grid.runs((task, arm, budget)) if cell.value is not None]


@mpl.rc_context(STYLE)
def single(analysis: Analysis) -> Drawing | None:
    """A panel a task with one budget: arms as rows."""
    tasks = [
        task for task in analysis.design.tasks if len(analysis.grid.budgets[task]) == 1 and _scored(analysis, task)
    ]
    if not tasks:
        return None
    figure, axes = new_figure((0.9 + 0.34 * len(analysis.design.arms)) * len(tasks), rows=len(tasks))
    for axis, task in zip(axes[:, 0], tasks, strict=True):
        (budget,) = analysis.grid.budgets[task]
        rows = []
        for arm in analysis.design.arms:
            mark = _mark(analysis.scores[task, arm, budget], arm, draws=_draws(analysis, task, arm, budget))
            rows.append((arm_name(arm), [mark]))
        draw_marks(axis, rows)
        axis.set_title(plain(f"{words(task)}, {budget_label(budget)}", most=60))
        axis.set_xlabel(plain(analysis.design.tasks[task]))
    return Drawing(
        name="further-tasks",
        markup=to_svg(figure, alt=f"Scores by arm with intervals for {', '.join(map(words, tasks))}."),
        columns=COLUMNS,
        rows=[row for task in tasks for row in _rows(analysis, task)],
    )


@mpl.rc_context(STYLE)
def gains(analysis: Analysis) -> Drawing | None:
    """A panel a task: budgets as rows, the gain of every arm over random weights, a line at zero."""
    found = [one for one in analysis.gains if one.against == FLOOR]
    tasks = [task for task in analysis.design.tasks
             if any(one.task == task and one.estimate.value is not None for one in found)]  # fmt: skip
    if not tasks:
        return None
    arms = [arm for arm in analysis.design.arms if arm != FLOOR]
    heights = [len(analysis.grid.budgets[task]) + 1.0 for task in tasks]
    figure, axes = new_figure(1.2 + (0.28 + 0.13 * len(arms)) * sum(heights), rows=len(tasks), height_ratios=heights)
    drawn: dict[str, Any] = {}
    for axis, task in zip(axes[:, 0], tasks, strict=True):
        rows = []
        for budget in analysis.grid.budgets[task]:
            pairs = [(arm, analysis.gain(task, arm, budget)) for arm in arms]
            rows.append((budget_label(budget), [_mark(one.estimate, arm) for arm, one in pairs if one is not None]))
        drawn |= draw_marks(axis, rows)
        dotted(axis, 0)
        axis.set_title(plain(words(task), most=60))
        axis.set_xlabel(plain(f"gain in {analysis.design.tasks[task]}", most=40))
    legend(figure, drawn)
    return Drawing(
        name="gains",
        markup=to_svg(figure, alt=f"Gains over random weights for {', '.join(map(words, tasks))}."),
        columns=("task", "arm", "against", "budget", "value", "low", "high", "p", "p_holm", "reason"),
        rows=[
            (one.task, one.arm, one.against, one.budget, one.estimate.value, one.estimate.low, one.estimate.high,
             one.p, one.p_holm, one.estimate.reason)
            for one in analysis.gains
        ],
    )  # fmt: skip


@mpl.rc_context(STYLE)
def kept(analysis: Analysis) -> Drawing | None:
    """The share of the pooled gain that federation keeps, overall and by task; lines at none and all of it."""
    found = {name: gap for name, gap in analysis.gain_kept.items() if gap.value is not None}
    if not found:
        return None
    rows = [
        ("all core tasks" if name not in analysis.design.tasks else words(name),
         [Mark(value=gap.value, low=gap.low, high=gap.high, look=arm_look(OURS))])
        for name, gap in found.items()
    ]  # fmt: skip
    figure, axes = new_figure(0.9 + 0.36 * len(rows))
    draw_marks(axes[0, 0], rows)
    dotted(axes[0, 0], 0, 1)
    axes[0, 0].set_xlabel("gain kept (0: as random weights, 1: as pooled)")
    values = ", ".join(f"{name} {share(marks[0].value)}" for name, marks in rows)
    return Drawing(
        name="gain-kept",
        markup=to_svg(figure, alt=f"Share of the pooled gain that federation keeps: {values}."),
        columns=("task", "value", "low", "high", "reason"),
        rows=[(name, gap.value, gap.low, gap.high, gap.reason) for name, gap in analysis.gain_kept.items()],
    )


def _mark(found: Estimate, arm: str, *, draws: Sequence[float] = ()) -> Mark:
    return Mark(
        value=found.value, low=found.low, high=found.high, seeds=draws, look=arm_look(arm), label=plain(arm_name(arm))
    )


def _scored(analysis: Analysis, task: str) -> bool:
    return any(one.value is not None for key, one in analysis.scores.items() if key[0] == task)


def _rows(analysis: Analysis, task: str) -> Iterator[tuple[object, ...]]:
    """The data of a task: the mean over draws with its interval, then every draw."""
    metric = analysis.design.tasks[task]
    for key, one in analysis.scores.items():
        if key[0] == task:
            arm, budget = key[1:]
            patients = analysis.grid.patients(task, budget)
            yield task, metric, arm, budget, patients, "all", one.value, one.low, one.high, one.reason
            for cell in analysis.grid.runs(key):
                yield task, metric, arm, budget, cell.patients, cell.draw, cell.value, None, None, cell.reason
