"""An arm's scores: the threshold from validation patients, Dice of the test patients by hand, a damaged file named."""

from pathlib import Path

import numpy as np
import pytest
import torch

from core.data.labelled import Labelled
from core.errors import CheckpointError, TrainingError
from core.evaluation.downstream import Chooser
from core.files import save_tensors
from core.models.encoder import EncoderConfig, build_encoder
from core.models.task_model import TaskModel, build_task_model
from core.training.task import Task
from simulations.federated_finetune.results import FILE, TaskScores, load_arm, save_arm, score
from simulations.results import Trained

TASK = Task(name="lesion")
CONFIG = EncoderConfig(size="custom", width=16, depth=1, heads=2, patch=4, side=8, channels=1)


def model_saying(logit: float) -> TaskModel:
    """Says the same of every pixel."""
    model = build_task_model(build_encoder(CONFIG, seed=0), TASK, seed=0)
    with torch.no_grad():
        for name, parameter in model.head.named_parameters():
            parameter.zero_()
            if name.endswith("bias") and parameter.numel() == CONFIG.patch**2:
                parameter.fill_(logit)
    return model


def split_of(*shares: float) -> Labelled:
    """An image a patient, of whose rows so many are inside."""
    masks = np.zeros((len(shares), 8, 8), np.uint8)
    for mask, share in zip(masks, shares, strict=True):
        mask[: round(8 * share)] = 1
    names = np.array([f"p{number}" for number in range(len(shares))])
    return Labelled(images_NSS=np.zeros((len(shares), 8, 8), np.uint8), patients_N=names, masks_NSS=masks)


def scored(logit: float, test: Labelled) -> TaskScores:
    chooser = Chooser(split_of(0.5), task=TASK, side=8, seed=0)
    return score(model_saying(logit), chooser, test, task=TASK, batch=2)


def test_dice_is_that_of_each_patient_at_the_threshold_of_the_validation_patients() -> None:
    found = scored(0.0, split_of(0.25, 1.0, 0.0))  # probability 1/2 everywhere: everything is inside below 0.5
    assert found.threshold < 0.5
    assert found.validation == pytest.approx(2 * 0.5 / (1 + 0.5))
    assert found.test == pytest.approx({"p0": 2 * 0.25 / (1 + 0.25), "p1": 1.0})
    assert found.empty_right == 0.0  # the third mask is empty, the prediction is not


def test_predictions_that_are_not_finite_are_a_training_error() -> None:
    with pytest.raises(TrainingError, match="task lesion: predictions are not finite"):
        scored(float("nan"), split_of(0.5))


def test_an_arm_comes_back(tmp_path: Path) -> None:
    assert load_arm(tmp_path) is None
    trained = Trained(model={"a": np.ones(2, np.float32)}, images=6, seconds=1.5, curve=[(6, 0.5)])
    scores = TaskScores(threshold=0.4, validation=0.6, test={"p": 0.5}, empty_right=None)
    save_arm(tmp_path, trained, scores)
    found = load_arm(tmp_path)
    assert found is not None
    assert found[1] == scores
    assert (found[0].images, found[0].seconds, found[0].curve) == (6, 1.5, [(6, 0.5)])


def test_a_damaged_arm_is_named(tmp_path: Path) -> None:
    save_tensors(tmp_path / FILE, {}, meta={"schema_version": 1, "images": 1})
    with pytest.raises(CheckpointError, match=r"arm\.safetensors: its document is incomplete"):
        load_arm(tmp_path)
