"""The goals of the study, and whether its numbers meet them."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.evaluation.formats import difference as signed
from core.evaluation.formats import percent, with_interval, words
from core.evaluation.intervals import Gap
from core.evaluation.label_efficiency.bootstrap import Sampled, Scores
from core.evaluation.label_efficiency.budgets import Undefined
from core.evaluation.label_efficiency.design import FLOOR, OURS, Grid
from core.evaluation.label_efficiency.gains import MARGIN, OVERALL, difference

SHARE = 0.95
"""Share of the pooled gain that the federation is to keep."""
FEW = 32
"""Labelled patients of the two goals about few labels."""
TASKS = 2
"""Core tasks on which the gain with few labels is to be shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A goal, whether it is met, and the numbers that decide."""

    text: str
    met: bool | None
    """None where the numbers that decide are missing."""
    evidence: str


def verdicts(scores: Scores, grid: Grid, kept: Mapping[str, Gap]) -> list[Verdict]:
    """The goals in their order."""
    return [_share_kept(kept[OVERALL]), _gain_with_few(scores, grid), _reach_with_few(scores, grid)]


def _share_kept(gap: Gap) -> Verdict:
    interval = f" (95% interval {percent(gap.low)} to {percent(gap.high)})" if gap.low is not None else ""
    return Verdict(
        text=f"federated keeps at least {percent(SHARE)} of the centralized gain overall",
        met=None if gap.value is None else gap.value >= SHARE,
        evidence=gap.reason if gap.value is None else f"{percent(gap.value)}{interval}",
    )


def _gain_with_few(scores: Scores, grid: Grid) -> Verdict:
    found = {task: difference(scores, (task, OURS, FEW), (task, FLOOR, FEW)) for task in grid.design.core_tasks}
    return _on_tasks(
        found, bound=0.0, strictly=True, wanted=TASKS,
        text=f"federated's gain over random_init at {FEW} patients has an interval above zero on {TASKS} core tasks",
    )  # fmt: skip


def _reach_with_few(scores: Scores, grid: Grid) -> Verdict:
    found = {task: difference(scores, (task, OURS, FEW), (task, FLOOR, "all")) for task in grid.design.core_tasks}
    return _on_tasks(
        found, bound=-MARGIN, strictly=False, wanted=1,
        text=f"federated with {FEW} patients has a lower bound of at least random_init with all labels minus {MARGIN} "
        "on 1 core task",
    )  # fmt: skip


def _on_tasks(
    found: Mapping[str, Sampled | Undefined], *, bound: float, strictly: bool, wanted: int, text: str
) -> Verdict:
    """Met on enough tasks, missed where the undecided ones cannot be enough, else, or of too few tasks, not decided."""
    lows = {task: one.estimate.low for task, one in found.items() if isinstance(one, Sampled)}
    met = sum(low is not None and (low > bound or (low == bound and not strictly)) for low in lows.values())
    verdict: bool | None = met >= wanted
    if not verdict and (len(found) < wanted or met + len(found) - len(lows) >= wanted):
        verdict = None
    evidence = [
        f"{words(task)} {with_interval(one.estimate.document(), signed)}" if isinstance(one, Sampled)
        else f"{words(task)} not measured: {one.reason}"
        for task, one in found.items()
    ]  # fmt: skip
    return Verdict(text=text, met=verdict, evidence="; ".join(evidence))
