"""A study that fits in the head: three arms, two core tasks, two budgets, two draws, four test patients."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from core.evaluation.gain import PatientScore
from core.evaluation.label_efficiency.analysis import Analysis, analyse
from core.evaluation.label_efficiency.budgets import Budget
from core.evaluation.label_efficiency.cells import Cell, score
from core.evaluation.label_efficiency.predictions import Example, Prediction
from core.evaluation.label_efficiency.report import StudyReport

HOSTILE = 'public:<script>alert("h")</script> & $\\frac{ [red]x[/] 医院'
"""A name of weights that would break a page, a figure or a table that trusts it."""
DESIGN: dict[str, Any] = {
    "arms": ("random_init", "federated", "centralized"),
    "core_tasks": ("mass", "head"),
    "tasks": {"mass": "Dice", "head": "Dice"},
    "budgets": (8, 32, "all"),
    "draws": 2,
}
LABELLED = {8: 8, 32: 32, "all": 50}
LEVELS = {"random_init": 0.5, "federated": 0.69, "centralized": 0.7}


def make_cell(
    task: str, arm: str, budget: Budget, draw: int, by_patient: Mapping[str, PatientScore] | None, **changed: Any
) -> Cell:
    """A cell with these scores; without scores an undefined one."""
    fields: dict[str, Any] = {
        "task": task, "arm": arm, "budget": budget, "draw": draw,
        "patients": LABELLED[budget] if by_patient else 0,
        "value": score(by_patient) if by_patient else None,
        "reason": "" if by_patient else "none is of class malignant",
        "by_patient": by_patient or {},
        "metrics": {"hd95_pixels": {"value": 4.0, "low": 3.0, "high": None, "reason": ""}} if by_patient else {},
        "validation": 0.5 if by_patient else None,
        "steps": 100, "best_step": 80, "seconds": 6.0, "images": 1600,
    }  # fmt: skip
    return Cell(**fields | changed)


def make_cells(
    levels: Mapping[str, float] = LEVELS, *, spread: float = 0.0, design: Mapping[str, Any] = DESIGN, seed: int = 0
) -> list[Cell]:
    """Every cell of a design: an arm's level for all of four patients, or with a spread of its own around it."""
    rng = np.random.default_rng(seed)
    return [
        make_cell(task, arm, budget, draw, {f"p{i}": levels[arm] + spread * float(rng.normal()) for i in range(4)})
        for task in design["tasks"]
        for budget in design["budgets"]
        for arm in design["arms"]
        for draw in range(design["draws"])
    ]


@pytest.fixture(scope="session")
def cell() -> Callable[..., Cell]:
    """`make_cell`."""
    return make_cell


@pytest.fixture(scope="session")
def cells() -> Callable[..., list[Cell]]:
    """`make_cells`."""
    return make_cells


@pytest.fixture(scope="session")
def study() -> Callable[..., Analysis]:
    """The analysis of some cells, of the small design unless it is changed."""

    def run(found: list[Cell], **changed: Any) -> Analysis:
        return analyse(found, **{**DESIGN, "seed": 0, "bootstrap": 400, **changed})

    return run


@pytest.fixture(scope="session")
def whole(study: Callable[..., Analysis]) -> Analysis:
    """A study with all that pages can hold: a further task, an undefined budget, a hostile name of weights."""
    tasks = {"mass": "Dice", "head": "Dice", "lung": "balanced accuracy"}
    arms = (*DESIGN["arms"], "local", HOSTILE)
    levels = {**LEVELS, "local": 0.6, HOSTILE: 0.65}
    design = {**DESIGN, "arms": arms, "tasks": tasks}
    made = [one for one in make_cells(levels, spread=0.02, design=design)
            if one.task != "lung" and (one.task, one.budget) != ("head", 8)]  # fmt: skip
    made += [make_cell("head", arm, 8, draw, None) for arm in arms for draw in range(2)]
    made += [make_cell("lung", arm, 32, draw, {f"l{i}": [[1, 2], [i % 2, 1]] for i in range(4)})
             for arm in arms for draw in range(2)]  # fmt: skip
    return study(made, arms=arms, tasks=tasks)


@pytest.fixture(scope="session")
def report(whole: Analysis) -> StudyReport:
    """A report with an example of every kind."""
    image_SS = np.random.default_rng(0).random((16, 16))
    mask_SS = np.zeros((16, 16), bool)
    mask_SS[4:10, 4:10] = True
    arms = whole.design.arms
    examples = [
        *(Example(task="mass", patient="secret-17", budget=budget, image_SS=image_SS, truth_SS=mask_SS,
                  predicted={arm: Prediction(score=0.5, mask_SS=np.roll(mask_SS, 2)) for arm in arms})
          for budget in (8, 32)),
        Example(task="lung", patient="secret-18", budget=32, image_SS=image_SS, truth="viral <b>",
                predicted={arm: Prediction(said="healthy 0.8") for arm in arms}),
        Example(task="clean", patient="secret-19", budget=32, image_SS=image_SS, target_SS=image_SS,
                predicted={arm: Prediction(score=31.2, picture_SS=image_SS) for arm in arms}),
    ]  # fmt: skip
    return StudyReport(analysis=whole, name="trial <i>", examples=examples, facts=[("pretraining", "31 min")],
                       commands=["python -m simulations.run"], config_text="a: <b>1</b>")  # fmt: skip
