"""A fine-tuned task model with what one needs to use it and to judge how it came about; and its file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core import config as configuration
from core.errors import CheckpointError, ConfigError
from core.federation.tensors import load_state, problems_with, spec_of, state_of
from core.files import load_tensors, save_tensors
from core.models.encoder import Encoder, EncoderConfig, PlainConfig
from core.models.task_model import TaskModel, build_task_model
from core.training.task import Task

SCHEMA_VERSION = 1
_PLACES, _TABLE = "encoder.pos_embed.weight", "encoder.rel_pos_bias.table.weight"
"""What a plain ViT knows places by, and what BEiT does; one of them is in every model."""
_PLAIN = ("threshold", "best_step", "validation", "steps", "images", "seconds", "evaluation_seconds", "note", "start")


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """Where training stood when validation patients were scored."""

    step: int
    """Optimizer steps taken."""
    loss: float
    """Mean training loss since the last point."""
    validation: float | None
    """Score of the validation patients, more is better; None where they have none."""


@dataclass(kw_only=True)
class Fitted:
    """A task model after `core.training.fit.fit`."""

    model: TaskModel
    """In evaluation mode, with the weights of the best validation score."""
    task: Task
    threshold: float
    """Of the probability that a pixel is inside, chosen on validation patients; 0.5 where the kind has none."""
    curve: list[Point] = field(default_factory=list)
    best_step: int
    """Optimizer steps after which the weights were taken."""
    validation: float | None
    """Best validation score: mean Dice over patients at the threshold, balanced accuracy, or gain of PSNR in dB."""
    steps: int
    """Optimizer steps taken in all."""
    images: int
    """Images that training took, a repeated one counted again."""
    seconds: float
    """Wall time of training and validation, loading and saving included."""
    evaluation_seconds: float
    """The part of `seconds` spent on validation patients."""
    note: str = ""
    """What a reader must know: no validation score, a class without an image, an early stop."""
    start: str = ""
    """SHA-256 of the encoder that training started from (`core.federation.tensors.digest_of`)."""


def save_fitted(path: Path, fitted: Fitted) -> None:
    """Write model, task and history as one safetensors file, atomically; raises CheckpointError."""
    meta = {name: getattr(fitted, name) for name in _PLAIN}
    meta |= {
        "schema_version": SCHEMA_VERSION,
        "encoder": asdict(fitted.model.encoder.config),
        "task": asdict(fitted.task),
        "curve": [[point.step, point.loss, point.validation] for point in fitted.curve],
    }
    save_tensors(path, state_of(fitted.model), meta=meta)


def load_fitted(path: Path) -> Fitted:
    """What `save_fitted` wrote, on the CPU; raises CheckpointError when it is damaged or nothing of the kind."""
    tensors, meta = load_tensors(path, schema=SCHEMA_VERSION)
    try:
        task = configuration.from_mapping(Task, meta["task"], source=f"{path}: task")
        shape = PlainConfig if _PLACES in tensors else EncoderConfig
        config = configuration.from_mapping(shape, meta["encoder"], source=f"{path}: encoder")
        model = _model(config, task, tensors)
        curve = [Point(step=int(step), loss=float(loss), validation=_number(score))
                 for step, loss, score in meta["curve"]]  # fmt: skip
        return Fitted(
            model=model.eval(),
            task=task,
            threshold=_threshold(meta["threshold"]),
            curve=curve,
            best_step=int(meta["best_step"]),
            validation=_number(meta["validation"]),
            steps=int(meta["steps"]),
            images=int(meta["images"]),
            seconds=float(meta["seconds"]),
            evaluation_seconds=float(meta["evaluation_seconds"]),
            note=str(meta["note"]),
            start=str(meta["start"]),
        )
    except (ConfigError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: no fine-tuned model ({error}); give a file that fine-tuning wrote") from error


def _model(config: EncoderConfig, task: Task, tensors: Mapping[str, np.ndarray[Any, Any]]) -> TaskModel:
    """The model of these sections with these weights; ValueError where they do not fit.

    What decides the memory that a model takes is compared first, so that a few wrong words cannot ask for a huge one.
    """
    shapes = spec_of(tensors)
    places = (1 + config.grid**2, config.width_) if config.plain else ((2 * config.grid - 1) ** 2 + 3, config.heads_)
    blocks = {name.split(".")[2] for name in shapes if name.startswith("encoder.blocks.")}
    if (
        shapes.get("encoder.norm.weight") != (config.width_,)
        or shapes.get("encoder.patch_embed.projection.weight") != (config.width_, config.channels * config.patch**2)
        or len(blocks) != config.depth_
        or shapes.get(_PLACES if config.plain else _TABLE) != places
        or task.head.width > max(map(max, filter(None, shapes.values())))
    ):
        raise ValueError("its weights are not those of its encoder section")
    with torch.random.fork_rng(devices=[]):
        model = build_task_model(Encoder(config), task, seed=0)
    if problems := problems_with(tensors, spec_of(state_of(model))):
        raise ValueError("; ".join(problems))
    load_state(model, tensors)
    return model


def _threshold(value: Any) -> float:
    """What lies outside would make every mask full or empty, and say nothing."""
    if not 0 < float(value) < 1:
        raise ValueError(f"threshold {value} does not lie in (0, 1)")
    return float(value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
