"""The test images that the page about a fine-tuned model shows: predicted once more, chosen by rule.

Shape legend: N images, E side of the model's input.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from client.outputs import grey
from core.data.augmentation import to_float
from core.data.labelled import Labelled
from core.evaluation.downstream import degraded, predict, truth_of
from core.evaluation.task_examples import (
    Shown,
    dice_values,
    examples_of,
    numbered,
    show_class,
    show_masks,
    show_restored,
)
from core.evaluation.task_page import TaskExample
from core.training.fitted import Fitted

_FLOOR = 1e-6
"""Mean squared error taken as none: 60 dB."""


def examples(fitted: Fitted, test: Labelled, *, seed: int, names: bool) -> list[TaskExample]:
    """The best, middle and worst test patient, each with one image.

    Args:
        fitted: The model.
        test: At least one image with what the task needs.
        seed: That of the score, so that enhancement meets the same degraded images.
        names: Whether patients are called by their names; otherwise they are numbers.
    """
    patients = test.patients_N.tolist()
    called = {name: f"patient {name}" for name in patients} if names else numbered(patients)
    kind = {"segmentation": _masks, "classification": _classes, "enhancement": _restored}[fitted.task.kind]
    values_N, show = kind(fitted, test, seed)
    return examples_of(values_N, test.patients_N, show=show, called=called)


Judged = tuple[NDArray[np.float64], Callable[[int], Shown]]
"""How good each image's prediction is, and how an image is shown."""


def _masks(fitted: Fitted, test: Labelled, _: int) -> Judged:
    """At the model's side, where the score is taken, so that picture and number are of one thing."""
    side = fitted.model.encoder.config.side
    inside_NEE = predict(fitted.model, test.images_NSS, task=fitted.task) > fitted.threshold
    truth_NEE = truth_of(test, side=side).masks_NSS
    values_N = dice_values(inside_NEE, truth_NEE)

    def show(row: int) -> Shown:
        seen_EE = to_float(torch.from_numpy(test.images_NSS[row : row + 1]), side=side)[0, 0].numpy()
        return show_masks(grey(seen_EE), truth_NEE[row], inside_NEE[row], dice=float(values_N[row]))

    return values_N, show


def _classes(fitted: Fitted, test: Labelled, _: int) -> Judged:
    assert test.labels_N is not None
    labels_N, classes = test.labels_N, fitted.task.classes
    made_NK = predict(fitted.model, test.images_NSS, task=fitted.task)
    values_N = made_NK[np.arange(len(test)), labels_N].astype(np.float64)
    return values_N, lambda row: show_class(test.images_NSS[row], int(labels_N[row]), made_NK[row], classes=classes)


def _restored(fitted: Fitted, test: Labelled, seed: int) -> Judged:
    side = fitted.model.encoder.config.side
    worse_NEE, clean_NEE = degraded(test, task=fitted.task, side=side, seed=seed)
    made_NEE = predict(fitted.model, worse_NEE, task=fitted.task)
    gains_N = _decibels(made_NEE, clean_NEE) - _decibels(worse_NEE, clean_NEE)
    return gains_N, lambda row: show_restored(clean_NEE[row], worse_NEE[row], made_NEE[row], gain=float(gains_N[row]))


def _decibels(images_NEE: NDArray[np.float32], clean_NEE: NDArray[np.float32]) -> NDArray[np.float64]:
    """PSNR of each image, at most 60 dB as in `core.evaluation.metrics.enhancement`."""
    squares_N = np.square(images_NEE.astype(np.float64) - clean_NEE).mean(axis=(1, 2))
    return np.asarray(-10 * np.log10(np.maximum(squares_N, _FLOOR)), np.float64)
