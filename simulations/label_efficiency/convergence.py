"""How many optimizer steps a task gets: enough that random weights gain no more from twice as many.

From the task's own steps S, random weights are fine-tuned with S and with 2 S steps on the task's largest budget, in
the first few draws. The score of validation patients is the primary metric, its mean over these draws; the interval of
the score with S steps is a percentile bootstrap of 95% over validation patients. S is enough when

    score(2 S) - score(S) < half the width of the interval of score(S).

Otherwise S is doubled, up to `convergence.max_doublings` times. What is found holds for every arm and budget of the
task: an encoder that needs fewer steps does not lose by it, since validation patients choose the state that is kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.evaluation.gain import ByPatient
from core.evaluation.intervals import Interval, patient_draws, percentile_interval, recall_in_draws
from core.evaluation.label_efficiency.cells import score, sums_of
from core.seeding import numpy_generator
from simulations.label_efficiency.bench import Bench
from simulations.label_efficiency.cells import Found, Job, job_of
from simulations.label_efficiency.config import FLOOR

FOLDER = "convergence"
"""Of the cells that are made to find the steps; those of the steps found are the study's cells too."""

Compute = Callable[[Sequence[Job]], list[Found]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """One number of steps."""

    steps: int
    score: Interval | None
    """Of validation patients, mean over draws; None where there is none."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"steps": self.steps} | (self.score._asdict() if self.score else dict.fromkeys(Interval._fields))


@dataclass(frozen=True, kw_only=True, slots=True)
class Steps:
    """What was found for one task."""

    steps: int
    converged: bool | None
    """Whether the rule was met; None where it could not be asked."""
    tried: tuple[Tried, ...]
    note: str = ""

    @property
    def state(self) -> str:
        """Whether the rule was met, in words."""
        return {True: "twice as many gain no more", False: "not converged", None: self.note}[self.converged]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        told = {"steps": self.steps, "converged": self.converged, "note": self.note}
        return {**told, "tried": [one.document() for one in self.tried]}


def find_steps(bench: Bench, digests: Mapping[str, str], compute: Compute) -> dict[str, Steps]:
    """Every task's steps.

    Args:
        bench: The study.
        digests: Of the encoders.
        compute: Gives the cells of jobs, from their files or computed now.
    """
    limit = bench.config.convergence.max_doublings
    own = {name: task.tuning.steps for name, task in bench.tasks.items()}
    if not limit:
        return {
            task: Steps(steps=steps, converged=None, tried=(), note="as given, convergence not asked")
            for task, steps in own.items()
        }
    tried: dict[str, list[Tried]] = {task: [] for task in own}
    found: dict[str, Steps] = {}
    for doublings in range(limit + 1):
        jobs = {task: trial_jobs(bench, digests, task, steps=steps << doublings)
                for task, steps in own.items() if task not in found}  # fmt: skip
        cells = iter(compute([job for some in jobs.values() for job in some]))
        for task, some in jobs.items():
            scores = [next(cells).validation for _ in some]
            tried[task].append(_tried(bench, task, own[task] << doublings, scores))
            if (steps := decide(tried[task], last=doublings == limit)) is not None:
                found[task] = steps
    return {task: found[task] for task in own}


def decide(tried: Sequence[Tried], *, last: bool) -> Steps | None:
    """What the scores of so many steps, each number twice the one before, say; None where more are to be tried."""
    now, before = tried[-1], tried[-2] if len(tried) > 1 else None
    if now.score is None:
        return Steps(steps=tried[0].steps, converged=None, tried=tuple(tried), note="no score of validation patients")
    if before and before.score and now.score.value - before.score.value < (before.score.high - before.score.low) / 2:
        return Steps(steps=before.steps, converged=True, tried=tuple(tried))
    if last:
        note = f"the score still rose with the last doubling, to {now.steps} steps"
        return Steps(steps=now.steps, converged=False, tried=tuple(tried), note=note)
    return None


def trial_jobs(bench: Bench, digests: Mapping[str, str], task: str, *, steps: int) -> list[Job]:
    """The cells whose scores tell whether so many steps are enough."""
    budget = bench.config.budgets_of(task)[-1]
    return [
        job_of(bench, digests, task=task, arm=FLOOR, budget=budget, draw=draw, steps=steps, folder=f"{FOLDER}/{steps}")
        for draw in range(bench.config.convergence.draws)
    ]


def _tried(bench: Bench, task: str, steps: int, scores: Sequence[ByPatient]) -> Tried:
    if not all(scores):
        return Tried(steps=steps, score=None)
    seed = bench.seed(task, "convergence")
    return Tried(steps=steps, score=interval_of(scores, seed=seed, bootstrap=bench.config.evaluation.bootstrap))


def interval_of(scores: Sequence[ByPatient], *, seed: int, bootstrap: int) -> Interval:
    """Mean over draws of the primary metric, with its interval over the patients that all draws share.

    Args:
        scores: The patients' scores in each draw, at least one.
        seed: Of the bootstrap.
        bootstrap: Bootstrap draws, at least 1.
    """
    generator = numpy_generator(seed, "convergence")
    counts_RP = patient_draws(len(scores[0]), draws=bootstrap, generator=generator)
    drawn_R = np.mean([recall_in_draws(sums_of(one), counts_RP) for one in scores], axis=0)
    return percentile_interval(float(np.mean([score(one) for one in scores])), drawn_R)
