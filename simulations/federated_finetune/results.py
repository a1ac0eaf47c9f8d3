"""What an arm leaves: a task model, what it took, and its Dice on every held-out patient."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from core.data.labelled import Labelled
from core.errors import CheckpointError, TrainingError
from core.evaluation.dice import judge
from core.evaluation.downstream import Chooser, predict, truth_of
from core.files import load_tensors, save_tensors
from core.models.task_model import TaskModel
from core.training.task import Task
from simulations.results import Trained

SCHEMA_VERSION = 1
FILE = "arm.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskScores:
    """Dice of one arm, patient by patient."""

    threshold: float
    """Of the probability that a pixel is inside; the best on validation patients."""
    validation: float
    """Mean Dice of the validation patients at that threshold."""
    test: dict[str, float]
    """Patient -> mean Dice of the images whose true mask is not empty."""
    empty_right: float | None
    """Share of the test images with an empty mask that are predicted empty; None where there are none."""


def score(network: TaskModel, chooser: Chooser, test: Labelled, *, task: Task, batch: int) -> TaskScores:
    """Choose the threshold on validation patients, and score the test patients.

    Args:
        network: A model of the task; in evaluation mode afterwards.
        chooser: Of the validation patients.
        test: Images of patients that nothing has seen.
        task: The model's.
        batch: Images a forward pass, >= 1.
    """
    choice = chooser.choose(network)
    made = predict(network, test.images_NSS, task=task, batch=batch)
    truth = truth_of(test, side=network.encoder.config.side)
    if not np.isfinite(made).all() or not np.isfinite(choice.score):
        raise TrainingError(f"task {task.name}: predictions are not finite; lower task.tuning.learning_rate")
    judged = judge(made, truth, threshold=choice.threshold)
    return TaskScores(
        threshold=choice.threshold, validation=choice.score, test=judged.by_patient, empty_right=judged.empty_right
    )


def save_arm(folder: Path, trained: Trained, scores: TaskScores) -> None:
    """Write `arm.safetensors`, whole or not at all; an arm that has one is finished."""
    meta = {
        "schema_version": SCHEMA_VERSION,
        "images": trained.images,
        "seconds": trained.seconds,
        "curve": trained.curve,
        "scores": asdict(scores),
    }
    save_tensors(folder / FILE, trained.model, meta=meta)


def load_arm(folder: Path) -> tuple[Trained, TaskScores] | None:
    """What `save_arm` wrote, or None; raises CheckpointError when it is damaged."""
    path = folder / FILE
    if not path.exists():
        return None
    model, meta = load_tensors(path, schema=SCHEMA_VERSION)
    try:
        curve = [(int(images), float(loss)) for images, loss in meta["curve"]]
        trained = Trained(model=model, images=int(meta["images"]), seconds=float(meta["seconds"]), curve=curve)
        return trained, TaskScores(**meta["scores"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: its document is incomplete ({error}); remove it to train this arm again"
        ) from error
