"""What a fine-tuned model predicts, and how good that is: on validation patients to choose, on test patients to report.

Shape legend: N images, S side as cached, E side of the encoder's input, K classes.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.augmentation import to_float, to_mask, units_of
from core.data.degradation import degrade
from core.data.labelled import Labelled
from core.errors import DataError
from core.evaluation.dice import Truth, best_threshold
from core.evaluation.metrics.classification import score_classification
from core.evaluation.metrics.enhancement import score_enhancement
from core.evaluation.metrics.score import TaskScore
from core.evaluation.metrics.segmentation import score_segmentation
from core.evaluation.probes import balanced_accuracy
from core.models.task_model import TaskModel
from core.seeding import derive
from core.training.fitted import Fitted
from core.training.task import Task

NO_THRESHOLD = 0.5
"""Of the probability that a pixel is inside, where no validation patient can choose one."""


AT_ONCE = 32
"""Images made worse together; bounds memory."""


class Choice(NamedTuple):
    """How good a state is on validation patients, and the threshold that it then goes with."""

    score: float
    """Mean Dice over patients at the best threshold, balanced accuracy, or gain of PSNR in decibels; more is better.
    NaN where predictions are not finite."""
    threshold: float


def predict(
    model: TaskModel, images_NSS: NDArray[np.uint8] | NDArray[np.float32], *, task: Task, batch: int = 128
) -> NDArray[np.float32]:
    """Apply a model to images, on the model's device; it is in evaluation mode afterwards.

    Args:
        model: The task's model.
        images_NSS: uint8 of 0 to 255, or float32 of 0 to 1; any side, resized to the encoder's.
        task: What the model was made for.
        batch: Images a forward pass, at least 1.

    Returns:
        Segmentation: probabilities that a pixel is inside, (N, E, E). Classification: probabilities, (N, K).
        Enhancement: the images restored, (N, E, E), in [0, 1].
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
    images_B1EE = to_float(images_BSS, side=side)
    mean_B111, scale_B111 = units_of(images_B1EE)
    made = model((images_B1EE - mean_B111) / scale_B111).float()
    if kind == "classification":
        made = made.softmax(dim=1)
    elif kind == "segmentation":
        made = made[:, 0].sigmoid()
    else:
        made = (made * scale_B111 + mean_B111).clamp(0, 1)[:, 0]
    values: NDArray[np.float32] = made.cpu().numpy()
    return values


def degraded(split: Labelled, *, task: Task, side: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Each image made worse, and clean, at the encoder's side: (N, E, E) in [0, 1] each.

    How an image is made worse follows from the seed and its file's name, or its place in the split where it has none,
    so every model meets the same.
    """
    places: list[str | int] = list(range(len(split))) if split.names_N is None else split.names_N.tolist()
    if not places:
        return np.zeros((0, side, side), np.float32), np.zeros((0, side, side), np.float32)
    seeds_N = torch.tensor([derive(seed, "degradation", place) for place in places])
    clean_N1EE = to_float(torch.from_numpy(split.images_NSS), side=side)
    parts = [slice(start, start + AT_ONCE) for start in range(0, len(places), AT_ONCE)]
    worse = [degrade(clean_N1EE[part], seeds_B=seeds_N[part], settings=task.degradation) for part in parts]
    return torch.cat(worse)[:, 0].numpy(), clean_N1EE[:, 0].numpy()


def truth_of(split: Labelled, *, side: int) -> Truth:
    """The masks at the side at which predictions are made: (N, E, E), each pixel the nearest of the mask's."""
    assert split.masks_NSS is not None
    masks_NEE = np.zeros((0, side, side), bool)
    if len(split):
        masks_NEE = to_mask(torch.from_numpy(split.masks_NSS), side=side)[:, 0].numpy() > 0
    return Truth(masks_NEE, split.patients_N)


def obstacle(split: Labelled, *, task: Task, side: int) -> str:
    """Why nothing can be learnt from a split, nor a state be judged by it; or nothing."""
    if not len(split):
        return "no image"
    if task.kind == "segmentation" and (split.masks_NSS is None or not truth_of(split, side=side).filled_N.any()):
        return "no mask that is not empty"
    return "no class" if task.kind == "classification" and split.labels_N is None else ""


def _one_class(split: Labelled, task: Task) -> str:
    """Whether a state that names one class for everything would be the best on these images."""
    alone = task.kind == "classification" and split.labels_N is not None and len(np.unique(split.labels_N)) < 2
    return "no second class" if alone else ""


class Chooser:
    """Scores states of a model on the validation images of one task; what does not change is prepared once."""

    def __init__(self, validation: Labelled, *, task: Task, side: int, seed: int, batch: int = 128) -> None:
        """`seed` is that of the degradations, for enhancement."""
        self.task, self.batch, self._split = task, batch, validation
        self.obstacle = obstacle(validation, task=task, side=side) or _one_class(validation, task)
        """Why there is no score, or nothing."""
        self._images_NSS: NDArray[np.uint8] | NDArray[np.float32] = validation.images_NSS
        if self.obstacle:
            return
        if task.kind == "segmentation":
            self._truth = truth_of(validation, side=side)
        if task.kind == "enhancement":
            self._images_NSS, self._clean_NEE = degraded(validation, task=task, side=side, seed=seed)

    def choose(self, model: TaskModel) -> Choice:
        """Score a state and, for segmentation, choose its threshold; only where there is no obstacle."""
        made = predict(model, self._images_NSS, task=self.task, batch=self.batch)
        if not np.isfinite(made).all():
            return Choice(float("nan"), NO_THRESHOLD)
        if self.task.kind == "segmentation":
            threshold, score = best_threshold(made, self._truth)
            return Choice(score, threshold)
        if self.task.kind == "classification":
            assert self._split.labels_N is not None
            return Choice(balanced_accuracy(self._split.labels_N, made.argmax(axis=1)), NO_THRESHOLD)
        gain_N = _psnr(made, self._clean_NEE) - _psnr(self._images_NSS, self._clean_NEE)
        patients = self._split.patients_N
        return Choice(float(np.mean([gain_N[patients == name].mean() for name in np.unique(patients)])), NO_THRESHOLD)


def _psnr(images_NEE: NDArray[np.generic], clean_NEE: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of grey levels in [0, 1], in decibels, (N,); at most 60, as in `core.evaluation.metrics.enhancement`.

    In place of MONAI's, so that training does not wait seconds for its import.
    """
    error_N = np.square(images_NEE.astype(np.float64) - clean_NEE).mean(axis=(1, 2))
    return np.asarray(-10 * np.log10(np.maximum(error_N, 1e-6)))


def evaluate(
    fitted: Fitted,
    test: Labelled,
    *,
    seed: int,
    spacing_N2: NDArray[np.float64] | None = None,
    batch: int = 128,
) -> TaskScore:
    """Score a fine-tuned model on test images, at the encoder's side and at the threshold that validation chose.

    Args:
        fitted: The model.
        test: What is scored; its patients should be in neither of the splits that `fitted` saw.
        seed: Of the bootstrap and, for enhancement, of how each image is made worse.
        spacing_N2: Millimetres a pixel of the test masks as cached, from `ImageCache.spacing`; segmentation.
        batch: Images a forward pass, at least 1.

    Raises:
        DataError: `test` lacks what the task needs, or predictions are not finite.
    """
    task, side, patients_N = fitted.task, fitted.model.encoder.config.side, test.patients_N
    if task.kind == "enhancement":
        worse_NEE, clean_NEE = degraded(test, task=task, side=side, seed=seed)
        restored_NEE = finite(predict(fitted.model, worse_NEE, task=task, batch=batch), task)
        return score_enhancement(restored_NEE, clean_NEE, patients_N, degraded_NSS=worse_NEE, seed=seed)
    made = finite(predict(fitted.model, test.images_NSS, task=task, batch=batch), task)
    if task.kind == "classification" and test.labels_N is not None:
        return score_classification(made, test.labels_N, patients_N, classes=task.classes, seed=seed)
    if task.kind == "segmentation" and test.masks_NSS is not None:
        truth_NEE = truth_of(test, side=side).masks_NSS
        scale = test.images_NSS.shape[1] / side
        spacing_N2 = None if spacing_N2 is None else spacing_N2 * scale
        return score_segmentation(made > fitted.threshold, truth_NEE, patients_N, spacing_N2=spacing_N2, seed=seed)
    raise DataError(f"test images of task {task.name}: no labels of its kind ({task.kind})")


def finite(made: NDArray[np.float32], task: Task) -> NDArray[np.float32]:
    """The predictions, or a DataError: what is not finite would pass for a mask without anything inside."""
    if not np.isfinite(made).all():
        raise DataError(f"task {task.name}: predictions are not finite; the model's weights or an image are damaged")
    return made
