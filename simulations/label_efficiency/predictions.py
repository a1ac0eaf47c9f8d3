"""Predictions that the report shows: of every test patient's first image, from the first draw, with few labels.

Which patient is shown is decided when all cells are there (`RULE`, of `core.evaluation.label_efficiency.predictions`),
so those of all patients are kept: about a megabyte a cell of the first draw.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.data.augmentation import to_float
from core.data.labelled import Labelled
from core.errors import CheckpointError
from core.evaluation.downstream import degraded, predict, truth_of
from core.evaluation.label_efficiency.budgets import Budget
from core.evaluation.label_efficiency.cells import Cell, score
from core.evaluation.label_efficiency.predictions import Example, Prediction, median_patient
from core.files import load_tensors, save_tensors
from core.training.fitted import Fitted
from simulations.label_efficiency.bench import Bench, TaskData

SCHEMA_VERSION = 1
Placed = tuple[Cell, Path]
"""A cell and its file."""
BUDGETS = (8, 32)
"""Labelled patients whose predictions are shown; where a task has neither, its two smallest budgets."""


def shown_budgets(bench: Bench, task: str) -> list[Budget]:
    """The budgets of a task that the report shows predictions of, from the smallest."""
    own: list[Budget] = bench.config.budgets_of(task)
    return [budget for budget in own if budget in BUDGETS] or own[:2]


def examples_path(cell: Path) -> Path:
    """Where the predictions of a cell lie, by the cell's own file."""
    return cell.with_suffix(".safetensors")


def evaluation_seed(bench: Bench, task: str) -> int:
    """Of the degradations and of the intervals over test patients, the same for every arm."""
    return bench.seed(task, "evaluate")


def keep_examples(bench: Bench, fitted: Fitted, path: Path, *, task: str, budget: Budget, draw: int) -> None:
    """Write the predictions of one cell beside its file, where the report may show them."""
    data = bench.data[task]
    if draw or budget not in shown_budgets(bench, task) or not len(data.test):
        return
    first = data.test.at(first_images(data.test))
    side, seed = fitted.model.encoder.config.side, evaluation_seed(bench, task)
    worse = fitted.task.kind == "enhancement"
    images_NSS = degraded(first, task=fitted.task, side=side, seed=seed)[0] if worse else first.images_NSS
    made = predict(fitted.model, images_NSS, task=fitted.task)
    inside = fitted.task.kind == "segmentation"
    kept = (made > fitted.threshold).astype(np.uint8) if inside else made
    meta = {"schema_version": SCHEMA_VERSION, "patients": first.patients_N.tolist()}
    save_tensors(examples_path(path), {"predicted": kept}, meta=meta)


def first_images(split: Labelled) -> NDArray[np.intp]:
    """Each patient's first image by name, (patients,), in the order of the patients' names."""
    names_N = split.names_N if split.names_N is not None else np.arange(len(split)).astype(str)
    order_N = np.lexsort((names_N, split.patients_N))
    _, places_P = np.unique(split.patients_N[order_N], return_index=True)
    rows_P: NDArray[np.intp] = order_N[places_P]
    return rows_P


def examples_of(bench: Bench, placed: Sequence[Placed]) -> list[Example]:
    """What the report shows: one test patient a task, at each of its budgets, with every arm's prediction.

    Args:
        bench: The study.
        placed: Every cell of the study with its file; two arms may share one.
    """
    return [example for task in bench.tasks for example in _of_task(bench, placed, task)]


def _of_task(bench: Bench, placed: Sequence[Placed], task: str) -> Iterator[Example]:
    data, budgets, side = bench.data[task], shown_budgets(bench, task), bench.simulation.encoder.side
    patient = median_patient([cell for cell, _ in placed], task=task, budget=budgets[-1])
    if patient is None:
        return
    first = data.test.at(first_images(data.test))
    row = int(np.flatnonzero(first.patients_N == patient)[0])
    for budget in budgets:
        predicted = {
            cell.arm: _prediction(data, cell, patient, side=side, path=examples_path(path))
            for cell, path in placed
            if (cell.task, cell.budget, cell.draw) == (task, budget, 0) and cell.value is not None
        }
        if predicted:
            one = first.at(np.array([row]))
            seed = evaluation_seed(bench, task)
            yield _example(data, one, side=side, seed=seed, budget=budget, predicted=predicted)


def _example(
    data: TaskData, one: Labelled, *, side: int, seed: int, budget: Budget, predicted: dict[str, Prediction]
) -> Example:
    """The example of a split of one image, its pictures `side` pixels wide."""
    clean_SS = to_float(torch.from_numpy(one.images_NSS), side=side)[0, 0].numpy()
    worse = data.task.kind == "enhancement"
    return Example(
        task=data.task.name,
        patient=str(one.patients_N[0]),
        budget=budget,
        image_SS=degraded(one, task=data.task, side=side, seed=seed)[0][0] if worse else clean_SS,
        target_SS=clean_SS if worse else None,
        truth_SS=truth_of(one, side=side).masks_NSS[0] if one.masks_NSS is not None else None,
        truth="" if one.labels_N is None else data.task.classes[one.labels_N[0]],
        predicted=predicted,
    )


def _prediction(data: TaskData, cell: Cell, patient: str, *, side: int, path: Path) -> Prediction:
    try:
        tensors, meta = load_tensors(path, schema=SCHEMA_VERSION)
        made = tensors["predicted"][meta["patients"].index(patient)]
    except (CheckpointError, KeyError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: holds no prediction of {patient} ({error}); remove {path.with_suffix('.json').name} beside it, "
            "--resume computes both again"
        ) from error
    value = score({patient: cell.by_patient[patient]})
    if data.task.kind == "segmentation":
        return Prediction(score=value, mask_SS=_at(made > 0, side=side))
    if data.task.kind == "enhancement":
        return Prediction(score=value, picture_SS=_at(made, side=side))
    best = int(made.argmax())
    return Prediction(said=f"{data.task.classes[best]} ({made[best]:.2f})")


def _at(picture_SS: NDArray[Any], *, side: int) -> NDArray[Any]:
    """A picture at another side, nearest pixels: given weights may see larger images than the others."""
    rows = np.arange(side) * len(picture_SS) // side
    return picture_SS[rows][:, rows]
