"""What a fine-tuned model predicts, and how good that is: on validation patients to choose, on test patients to report.

Shape legend: N images, S side as cached, E side of the encoder's input, K classes.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.augmentation import standardize, to_float, to_mask
from core.data.labelled import Labelled
from core.evaluation.dice import Truth, best_threshold
from core.evaluation.probes import balanced_accuracy
from core.models.task_model import TaskModel
from core.training.task import Task

NO_THRESHOLD = 0.5
"""Of the probability that a pixel is inside, where no validation patient can choose one."""


class Choice(NamedTuple):
    """How good a state is on validation patients, and the threshold that it then goes with."""

    score: float
    """Mean Dice over patients at the best threshold or balanced accuracy; more is better. Not finite after a model
    whose predictions are not."""
    threshold: float


def predict(model: TaskModel, images_NSS: NDArray[np.uint8], *, task: Task, batch: int = 128) -> NDArray[np.float32]:
    """Apply a model to images, on the model's device; it is in evaluation mode afterwards.

    Args:
        model: The task's model.
        images_NSS: uint8 of 0 to 255, or float32 of 0 to 1; any side, resized to the encoder's.
        task: What the model was made for.
        batch: Images a forward pass, at least 1.

    Returns:
        Segmentation: probabilities that a pixel is inside, (N, E, E). Classification: probabilities, (N, K).
    """
    side, device = model.encoder.config.side, next(model.parameters()).device
    model.eval()
    found = [
        _predict(model, torch.from_numpy(images_NSS[start : start + batch]).to(device), side=side, kind=task.kind)
        for start in range(0, len(images_NSS), batch)
    ]
    empty = (0, len(task.classes)) if task.kind == "classification" else (0, side, side)
    return np.concatenate(found) if found else np.zeros(empty, np.float32)


@torch.inference_mode()
def _predict(model: TaskModel, images_BSS: Tensor, *, side: int, kind: str) -> NDArray[np.float32]:
    made = model(standardize(to_float(images_BSS, side=side))).float()
    made = made.softmax(dim=1) if kind == "classification" else made[:, 0].sigmoid()
    values: NDArray[np.float32] = made.cpu().numpy()
    return values


def truth_of(split: Labelled, *, side: int) -> Truth:
    """The masks at the side at which predictions are made: (N, E, E), each pixel the nearest of the mask's."""
    assert split.masks_NSS is not None
    masks_NEE = np.zeros((0, side, side), bool)
    if len(split):
        masks_NEE = to_mask(torch.from_numpy(split.masks_NSS), side=side)[:, 0].numpy() > 0
    return Truth(masks_NEE, split.patients_N)


def obstacle(split: Labelled, *, task: Task, side: int) -> str:
    """Why a split cannot say how good a state is, or nothing."""
    if not len(split):
        return "no image"
    if task.kind == "segmentation" and (split.masks_NSS is None or not truth_of(split, side=side).filled_N.any()):
        return "no mask that is not empty"
    return "no class" if task.kind == "classification" and split.labels_N is None else ""


def choose(model: TaskModel, validation: Labelled, *, task: Task, batch: int = 128) -> Choice:
    """Score a state on validation images without an `obstacle`; for segmentation, choose the threshold too."""
    made = predict(model, validation.images_NSS, task=task, batch=batch)
    if not np.isfinite(made).all():
        return Choice(float("nan"), NO_THRESHOLD)
    if task.kind == "classification":
        assert validation.labels_N is not None
        return Choice(balanced_accuracy(validation.labels_N, made.argmax(axis=1)), NO_THRESHOLD)
    threshold, score = best_threshold(made, truth_of(validation, side=model.encoder.config.side))
    return Choice(score, threshold)
