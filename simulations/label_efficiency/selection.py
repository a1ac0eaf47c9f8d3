"""Which hospital stands for training alone: the median and the best one, by task, on validation patients.

Every hospital's encoder of the first training seed is fine-tuned for the task with `selection_budget` labelled
patients (or the task's largest budget that can be met, where that one cannot) of draw 0. Validation patients rank the
hospitals; of an even number the lower of the two in the middle is the median, and of equals the first by name is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.evaluation.arms import LOCAL
from core.evaluation.label_efficiency.budgets import Budget, Undefined
from simulations.label_efficiency.bench import Bench
from simulations.label_efficiency.cells import Found, Job, job_of
from simulations.label_efficiency.config import LOCAL_ARM, LOCAL_BEST
from simulations.label_efficiency.convergence import Steps

Compute = Callable[[Sequence[Job]], list[Found]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """The hospitals of one task."""

    budget: Budget | None
    """Labelled patients with which they were compared; None where no budget can be met."""
    scores: Mapping[str, float | None]
    """Hospital to its validation score, in the primary metric."""
    median: str
    best: str

    def arm(self, arm: str) -> str:
        """What an arm of the study is computed as: `local:<hospital>` for the two that stand for one hospital."""
        return {LOCAL_ARM: f"{LOCAL}{self.median}", LOCAL_BEST: f"{LOCAL}{self.best}"}.get(arm, arm)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def choose_hospitals(
    bench: Bench, digests: Mapping[str, str], steps: Mapping[str, Steps], compute: Compute
) -> dict[str, Chosen]:
    """The median and the best hospital of every task; nothing where no arm is a hospital.

    Without any validation score the first hospital by name stands for both, and all scores are None.
    """
    if not {LOCAL_ARM, LOCAL_BEST} & {*bench.config.arms}:
        return {}
    sites = sorted(bench.prepared.hospitals)
    budgets = {task: _budget(bench, task) for task in bench.tasks}
    jobs = [
        job_of(bench, digests, task=task, arm=f"{LOCAL}{site}", budget=budget, draw=0, steps=steps[task].steps)
        for task, budget in budgets.items()
        for site in sites
        if budget is not None
    ]
    found = {(cell.cell.task, cell.cell.arm): cell.cell.validation for cell in compute(jobs)}
    return {
        task: choose({site: found.get((task, f"{LOCAL}{site}")) for site in sites}, budget=budget)
        for task, budget in budgets.items()
    }


def choose(scores: Mapping[str, float | None], *, budget: Budget | None) -> Chosen:
    """The median and the best of hospitals by their validation scores; one without a score is neither."""
    ranked = sorted((value, site) for site, value in scores.items() if value is not None)
    if not ranked:
        first = min(scores)
        return Chosen(budget=budget, scores=scores, median=first, best=first)
    best = min(site for value, site in ranked if value == ranked[-1][0])
    return Chosen(budget=budget, scores=scores, median=ranked[(len(ranked) - 1) // 2][1], best=best)


def _budget(bench: Bench, task: str) -> Budget | None:
    met = bench.labelled(task, draw=0)
    wanted = [bench.config.selection_budget, *reversed(bench.config.budgets_of(task))]
    return next((budget for budget in wanted if not isinstance(met[budget], Undefined)), None)
