"""What an arm leaves: a task model, what it took, and its Dice on every held-out patient."""

from dataclasses import asdict, dataclass
from pathlib import Path

from core.data.labelled import Labelled
from core.errors import CheckpointError
from core.evaluation.dice import best_threshold, judge
from core.evaluation.masked import Masked, predict
from core.federation.tensors import Tensors, load_state
from core.files import load_tensors, save_tensors
from core.models.encoder import EncoderConfig, build_encoder
from core.models.task_model import TaskModel
from core.federation.task_section import task_model
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


def score(model: Tensors, data: tuple[Labelled, Labelled], *, encoder: EncoderConfig, task: Task, batch: int) -> TaskScores:
    """Choose the threshold on validation patients, and score the test patients.

    Args:
        model: The state of a task model.
        data: Validation and test images.
        encoder: The model's.
        task: The model's.
        batch: Images a forward pass, >= 1.
    """
    network = task_model(build_encoder(encoder, seed=0), task, seed=0)
    load_state(network, model)
    network.eval()
    (grades_V, truth_V), (grades_T, truth_T) = [_predicted(network, split, side=encoder.side, batch=batch) for split in data]
    threshold, validation = best_threshold(grades_V, truth_V)
    judged = judge(grades_T, truth_T, threshold=threshold)
    return TaskScores(
        threshold=threshold, validation=validation, test=judged.by_patient, empty_right=judged.empty_right
    )
