"""Which patients are labelled when a study may label only so many: nested, stratified budgets.

Patients are put into one order, and a budget of n takes the first n of it, so every budget holds all smaller ones. The
order is the one in which Webster's method hands out seats: of n patients, a stratum that makes up a share s of all
patients has n s, to at most (1 + s (S - 2)) / 2 patients with S strata: half a patient with two of them, less than one
with three. Within a stratum the order is random, from the seed.

How many patients of a stratum a budget holds does not depend on the seed, so a cell that is defined for one draw of
patients is defined for every draw.

M. L. Balinski, H. P. Young, "Fair Representation: Meeting the Ideal of One Man, One Vote", Yale University Press, 1982
(Webster's method, also Sainte-Lague's).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from core.errors import ConfigError
from core.evaluation.formats import words
from core.seeding import numpy_generator

Budget = int | Literal["all"]
"""Labelled patients, at least 1, or all that there are. JSON keeps both as they are."""


@dataclass(frozen=True, slots=True)
class Undefined:
    """A budget that cannot be met, and why; it is never rounded up."""

    reason: str


def budget_order(budget: Budget) -> float:
    """A key to sort budgets by: their size, "all" last."""
    return math.inf if budget == "all" else budget


def budget_label(budget: Budget) -> str:
    """`8 patients`, `all patients`."""
    return f"{budget} patient{'' if budget == 1 else 's'}"


def strata_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The stratum of each patient, sorted by patient: of several the most frequent, of equals the first by name.

    Args:
        pairs: Patient and stratum of each image.
    """
    seen: dict[str, Counter[str]] = {}
    for patient, name in pairs:
        seen.setdefault(patient, Counter())[name] += 1
    return {patient: min(seen[patient], key=lambda name: (-seen[patient][name], name)) for patient in sorted(seen)}


def nested_budgets(
    strata: Mapping[str, str], *, budgets: Sequence[Budget], seed: int, classes: Sequence[str] = ()
) -> dict[Budget, list[str] | Undefined]:
    """The labelled patients of every budget.

    Args:
        strata: Training patient -> stratum, for example its class; "" for all where nothing is to be balanced.
        budgets: What is asked for, in any order.
        seed: Decides which patients; derive it from the run's seed, the task and the draw, never from the arm.
        classes: Strata that every budget must hold a patient of; give a classification's classes.

    Returns:
        Budget -> patients, or why there are none: more patients asked for than there are, or a class without one.

    Raises:
        ConfigError: A budget below 1, or one that is listed twice.
    """
    _check(budgets)
    order = stratified_order(strata, seed=seed)
    return {budget: _prefix(order, strata, budget=budget, classes=classes) for budget in budgets}


def stratified_order(strata: Mapping[str, str], *, seed: int) -> list[str]:
    """All patients in an order whose every beginning has the strata in proportion, as the module says.

    The j-th patient (from 0) of a stratum of m patients stands at (j + 1/2) / m; of equals, the patient of the rarer
    stratum goes first, then that of the first by name.
    """
    members: dict[str, list[str]] = {}
    for patient in sorted(strata):
        members.setdefault(strata[patient], []).append(patient)
    placed: list[tuple[Fraction, int, str, str]] = []
    for name, patients in members.items():
        shuffled = numpy_generator(seed, "labelled", name).permutation(len(patients))
        placed += [(Fraction(2 * j + 1, 2 * len(patients)), len(patients), name, patients[at])
                   for j, at in enumerate(shuffled)]  # fmt: skip
    return [patient for *_, patient in sorted(placed)]


def _check(budgets: Sequence[Budget]) -> None:
    problems = [
        f"budget {budget!r} must be a whole number of patients, at least 1, or 'all'"
        for budget in budgets
        if budget != "all" and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 1)
    ]
    problems += [f"budget {budget!r} is listed twice; keep one" for budget, times in Counter(budgets).items()
                 if times > 1]  # fmt: skip
    if problems:
        raise ConfigError(problems, title="label budgets")


def _prefix(
    order: Sequence[str], strata: Mapping[str, str], *, budget: Budget, classes: Sequence[str]
) -> list[str] | Undefined:
    if not order:
        return Undefined("no training patient is labelled")
    if budget != "all" and budget > len(order):
        have = "1 is" if len(order) == 1 else f"{len(order)} are"
        return Undefined(f"{budget_label(budget)} asked for, {have} labelled")
    patients = list(order if budget == "all" else order[:budget])
    present = {strata[patient] for patient in patients}
    if absent := [name for name in classes if name not in present]:
        named = ", ".join(words(name) for name in absent)
        return Undefined(f"of {budget_label(len(patients))} none is of class {named}")
    return patients
