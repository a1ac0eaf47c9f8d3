"""Gains over random weights, the share of the pooled gain that the federation keeps, and the labels that it saves."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from operator import add
from typing import Any

from core.evaluation.formats import words
from core.evaluation.intervals import Gap, ratio_interval
from core.evaluation.label_efficiency.bootstrap import Estimate, Sampled, Scores, holm, p_value
from core.evaluation.label_efficiency.budgets import Budget, Undefined, budget_label
from core.evaluation.label_efficiency.design import FLOOR, OURS, REFERENCE, Grid

MARGIN = 0.02
"""How far below random weights with all labels a score may lie that is said to reach them; in the primary metric."""
OVERALL = "overall"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """The score of an arm minus that of another, for one task and budget."""

    task: str
    arm: str
    against: str
    budget: Budget
    estimate: Estimate
    p: float | None = None
    """Two-sided; for federated against random weights and against pooled, else None."""
    p_holm: float | None = None
    """Adjusted over the core comparisons (federated against random weights, core tasks, all defined budgets)."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        found = {key: value for key, value in asdict(self).items() if key != "estimate"}
        return found | self.estimate.document()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """The labels with which an arm does as well as random weights with all of them."""

    task: str
    arm: str
    reached: Budget | None
    """The smallest budget whose score is at least that of random weights with all labels."""
    shown: Budget | None
    """The smallest whose difference from it has a lower 95% bound of at least -`MARGIN`."""
    reason: str = ""
    """Why either is None."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def difference(scores: Scores, first: tuple[str, str, Budget], second: tuple[str, str, Budget]) -> Sampled | Undefined:
    """First minus second, or which of them has no score and why."""
    pair = [(key, scores.get(key, Undefined("not run"))) for key in (first, second)]
    missing = [f"{key[1]} at {budget_label(key[2])}: {one.reason}" for key, one in pair if isinstance(one, Undefined)]
    found = [one for _, one in pair if isinstance(one, Sampled)]
    return Undefined("; ".join(missing)) if missing else found[0] - found[1]


def all_gains(scores: Scores, grid: Grid) -> list[Gain]:
    """Every arm against random weights, and federated against pooled, by task and budget; Holm over the core ones."""
    pairs = [(arm, FLOOR) for arm in grid.design.arms if arm != FLOOR]
    pairs += [(OURS, REFERENCE)] if {OURS, REFERENCE} <= {*grid.design.arms} else []
    found = [
        _gain(scores, task=task, budget=budget, arm=arm, against=against)
        for task, budgets in grid.budgets.items()
        for budget in budgets
        for arm, against in pairs
    ]
    core = [place for place, gain in enumerate(found) if gain.task in grid.design.core_tasks
            and (gain.arm, gain.against) == (OURS, FLOOR) and gain.p is not None]  # fmt: skip
    for place, adjusted in zip(core, holm([found[place].p or 0.0 for place in core]), strict=True):
        found[place] = replace(found[place], p_holm=adjusted)
    return found


def _gain(scores: Scores, *, task: str, budget: Budget, arm: str, against: str) -> Gain:
    one = difference(scores, (task, arm, budget), (task, against, budget))
    if isinstance(one, Undefined):
        estimate, p = Estimate(reason=one.reason), None
    else:
        estimate, p = one.estimate, p_value(one.draws_R) if arm == OURS else None
    return Gain(task=task, arm=arm, against=against, budget=budget, estimate=estimate, p=p)


def gains_kept(scores: Scores, grid: Grid) -> dict[str, Gap]:
    """The share of the pooled gain that the federation keeps: of all core tasks together, and of every task.

        gain kept = sum over budgets (federated - random) / sum over budgets (centralized - random)

    overall with both sums over the core tasks too. A budget that one of the three arms has no score for is left out of
    both sums; a core task without any budget leaves the overall share undefined. There is no share where the pooled
    gain is not shown, that is, where the lower bound of its 95% interval is not above 0.
    """
    usable = {task: _usable(scores, task, budgets) for task, budgets in grid.budgets.items()}
    core = grid.design.core_tasks
    if lacking := [words(task) for task in core if not usable[task]]:
        overall = Gap(value=None, low=None, high=None, reason=f"no budget has all three arms on {', '.join(lacking)}")
    else:
        overall = _kept([pair for task in core for pair in usable[task]])
    return {OVERALL: overall, **{task: _kept(usable[task]) for task in grid.design.tasks}}


def _usable(scores: Scores, task: str, budgets: Iterable[Budget]) -> list[tuple[Sampled, Sampled]]:
    """The gains (federated, centralized) of every budget that has both."""
    pairs = [[difference(scores, (task, arm, budget), (task, FLOOR, budget)) for arm in (OURS, REFERENCE)]
             for budget in budgets]  # fmt: skip
    return [(ours, reference) for ours, reference in pairs
            if isinstance(ours, Sampled) and isinstance(reference, Sampled)]  # fmt: skip


def _kept(pairs: Sequence[tuple[Sampled, Sampled]]) -> Gap:
    if not pairs:
        return Gap(value=None, low=None, high=None, reason="no budget has all three arms")
    ours, reference = (reduce(add, gains) for gains in zip(*pairs, strict=True))
    pooled = reference.estimate
    if reference.value <= 0 or pooled.low is None or pooled.low <= 0:
        reason = (
            f"pooled pretraining was not shown to gain over random weights (sum of gains {reference.value:+.3f}, 95% "
            f"interval {pooled.low:+.3f} to {pooled.high:+.3f}), so there is no gain to keep"
        )
        return Gap(value=None, low=None, high=None, reason=reason)
    return ratio_interval(
        ours.value / reference.value, ours.draws_R, reference.draws_R, undefined="pooling gained nothing"
    )


def all_reached(scores: Scores, grid: Grid) -> list[Reach]:
    """For every task and arm the budget that reaches random weights with all labels."""
    return [_reach(scores, task=task, arm=arm, budgets=budgets)
            for task, budgets in grid.budgets.items() for arm in grid.design.arms]  # fmt: skip


def _reach(scores: Scores, *, task: str, arm: str, budgets: Sequence[Budget]) -> Reach:
    target = scores.get((task, FLOOR, "all"), Undefined("not run"))
    if isinstance(target, Undefined):
        reason = f"random weights with all labels have no score: {target.reason}"
        return Reach(task=task, arm=arm, reached=None, shown=None, reason=reason)
    found: Mapping[Budget, Sampled] = {
        budget: one for budget in budgets
        if isinstance(one := difference(scores, (task, arm, budget), (task, FLOOR, "all")), Sampled)
    }  # fmt: skip
    reached = next((budget for budget, one in found.items() if one.value >= 0), None)
    lows = {budget: one.estimate.low for budget, one in found.items()}
    shown = next((budget for budget, low in lows.items() if low is not None and low >= -MARGIN), None)
    reason = ""
    if not found:
        reason = "no budget has a score"
    elif reached is None or shown is None:
        reason = "with no budget that was run"
    return Reach(task=task, arm=arm, reached=reached, shown=shown, reason=reason)
