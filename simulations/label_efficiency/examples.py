"""Predictions that the report shows: of every test patient's first image, from the first draw, with few labels.

Which patient is shown is decided when all cells are there (`core.evaluation.label_efficiency.examples.RULE`), so those
of all patients are kept: about a megabyte a cell of the first draw.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.data.labelled import Labelled
from core.errors import CheckpointError
from core.evaluation.downstream import predict, truth_of
from core.evaluation.label_efficiency.budgets import Budget
from core.evaluation.label_efficiency.cells import Cell, score
from core.evaluation.label_efficiency.examples import Example, Prediction, median_patient
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


def keep_examples(bench: Bench, fitted: Fitted, path: Path, *, task: str, budget: Budget, draw: int) -> None:
    """Write the predictions of one cell beside its file, where the report may show them."""
    data = bench.data[task]
    if draw or budget not in shown_budgets(bench, task) or not len(data.test):
        return
    first = data.test.at(first_images(data.test))
    made = predict(fitted.model, first.images_NSS, task=fitted.task)
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
    data, budgets = bench.data[task], shown_budgets(bench, task)
    patient = median_patient([cell for cell, _ in placed], task=task, budget=budgets[-1])
    if patient is None or data.task.kind == "enhancement":
        return
    first = data.test.at(first_images(data.test))
    row = int(np.flatnonzero(first.patients_N == patient)[0])
    for budget in budgets:
        predicted = {
            cell.arm: _prediction(data, cell, patient, path=examples_path(path))
            for cell, path in placed
            if (cell.task, cell.budget, cell.draw) == (task, budget, 0) and cell.value is not None
        }
        if predicted:
            yield _example(data, first, row, budget=budget, predicted=predicted)


def _example(data: TaskData, first: Labelled, row: int, *, budget: Budget, predicted: dict[str, Prediction]) -> Example:
    image_SS = first.images_NSS[row].astype(np.float32) / 255
    side = next((len(one.mask_SS) for one in predicted.values() if one.mask_SS is not None), len(image_SS))
    one = first.at(np.array([row]))
    return Example(
        task=data.task.name,
        patient=str(first.patients_N[row]),
        budget=budget,
        image_SS=_resized(image_SS, side),
        truth_SS=truth_of(one, side=side).masks_NSS[0] if first.masks_NSS is not None else None,
        truth="" if first.labels_N is None else data.task.classes[first.labels_N[row]],
        predicted=predicted,
    )


def _prediction(data: TaskData, cell: Cell, patient: str, *, path: Path) -> Prediction:
    tensors, meta = load_tensors(path, schema=SCHEMA_VERSION)
    try:
        made = tensors["predicted"][meta["patients"].index(patient)]
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{path}: holds no prediction of {patient} ({error}); remove its cell's file") from error
    value = score({patient: cell.by_patient[patient]})
    if data.task.kind == "segmentation":
        return Prediction(score=value, mask_SS=made > 0)
    best = int(made.argmax())
    return Prediction(said=f"{data.task.classes[best]} ({made[best]:.2f})")


def _resized(image_SS: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The image at the side of the predictions."""
    import torch

    from core.data.augmentation import to_float

    found: NDArray[np.float32] = to_float(torch.from_numpy(image_SS)[None], side=side)[0, 0].numpy()
    return found
