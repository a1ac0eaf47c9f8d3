"""Scores of the study in bootstrap draws, paired: the same patients and the same labelled draws for every arm.

Every interval is a percentile bootstrap of 95%, drawn over two things that are crossed (Owen's pigeonhole bootstrap):
test patients, the same for every arm, budget and draw, and for every task that scores the same patients; and draws of
labelled patients with their fine-tuning seeds, the same for all tasks, budgets and arms. Draw d of every arm has the
same labelled patients, so what a lucky draw gives to all arms falls out of their differences.

What the intervals cover: other test patients of the same hospitals, and other labelled patients from the same training
patients. What they do not: other hospitals, another division of the patients and, beyond the few training seeds that
the draws take in turn, another pretraining. Of the variance between D draws the bootstrap sees (D - 1) / D, so two
thirds from three; and of three draws, one alone makes up a bootstrap sample in 1 of 27 samples, more than the 2.5%
outside either bound, so a bound is often what the worst or the best draw gave. Read an interval over three or four
draws as one over patients that these draws agree with. Draws with all labelled patients differ in their seeds alone, of
fine-tuning and of pretraining.

A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2):386-411, 2007, doi:10.1214/07-AOAS122.
A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", Cambridge University Press, 1997, section 4.4
(a p-value from draws; the one added keeps it above 0).
S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6:65-70, 1979.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.evaluation.gain import patients_in_draws
from core.evaluation.intervals import patient_draws, percentile_interval, recall_in_draws
from core.evaluation.label_efficiency.budgets import Undefined
from core.evaluation.label_efficiency.cells import Cell, sums_of
from core.evaluation.label_efficiency.design import Grid, Key
from core.seeding import numpy_generator

# P test patients, D draws of labelled patients, R bootstrap draws


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A number with its 95% interval, or why there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Sampled:
    """A number, and the same number in every bootstrap draw."""

    value: float
    draws_R: NDArray[np.float64]

    def __add__(self, other: "Sampled") -> "Sampled":
        """The sum, draw by draw."""
        return Sampled(self.value + other.value, self.draws_R + other.draws_R)

    def __sub__(self, other: "Sampled") -> "Sampled":
        """The difference, draw by draw: paired."""
        return Sampled(self.value - other.value, self.draws_R - other.draws_R)

    @property
    def estimate(self) -> Estimate:
        """The number with its interval."""
        value, low, high = percentile_interval(self.value, self.draws_R)
        return Estimate(value=value, low=low, high=high)


Scores = dict[Key, Sampled | Undefined]
"""The score of every task, arm and budget: the mean over its draws."""


def sample_scores(grid: Grid, *, seed: int, bootstrap: int) -> Scores:
    """Draw test patients and labelled draws for the whole study at once.

    Args:
        grid: The cells.
        seed: Seed of the bootstrap.
        bootstrap: Bootstrap draws R, >= 1.
    """
    found = {key: grid.defined(key) for key in grid.keys()}  # noqa: SIM118 -- no mapping
    cells = {task: cell for (task, _, _), runs in found.items() if not isinstance(runs, Undefined) for cell in runs}
    counts_of = patients_in_draws({task: cells[task].by_patient for task in sorted(cells)}, draws=bootstrap, seed=seed)
    generator = numpy_generator(seed, "labelled draws")
    weights_RD = patient_draws(grid.design.draws, draws=bootstrap, generator=generator) / grid.design.draws
    counts_RP = {
        task: np.stack([counts_of[patient] for patient in sorted(cell.by_patient)], axis=1)
        for task, cell in cells.items()
    }
    return {
        key: runs if isinstance(runs, Undefined) else _sample(runs, counts_RP[key[0]], weights_RD)
        for key, runs in found.items()
    }


def _sample(runs: Sequence[Cell], counts_RP: NDArray[np.float64], weights_RD: NDArray[np.float64]) -> Sampled:
    """The mean over the drawn runs of their score on the drawn patients."""
    sums = [sums_of(cell.by_patient) for cell in runs]
    ones_1P = np.ones((1, counts_RP.shape[1]))
    value = float(np.mean([recall_in_draws(sums_PC2, ones_1P)[0] for sums_PC2 in sums]))
    scores_RD = np.stack([recall_in_draws(sums_PC2, counts_RP) for sums_PC2 in sums], axis=1)
    return Sampled(value, (weights_RD * scores_RD).sum(axis=1))


def p_value(gain_R: NDArray[np.float64]) -> float:
    """Two-sided p of no gain, from the percentile bootstrap: min(1, 2 (1 + k) / (R + 1)).

    k is the smaller of two counts among the R draws: of gains at or below 0, and of gains at or above 0. It is at most
    0.05 about where the 95% percentile interval leaves out 0, and never below 2 / (R + 1).
    """
    fewer = min(int((gain_R <= 0).sum()), int((gain_R >= 0).sum()))
    return min(1.0, 2 * (1 + fewer) / (len(gain_R) + 1))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: with m of them, the k-th smallest times m - k + 1, k from 1.

    None becomes smaller than that of a smaller p, and none exceeds 1.
    """
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = largest
    return adjusted
