"""How far a fine-tuning has come, on disk, so that it goes on after a kill with the same bits."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import CheckpointError
from core.federation.tensors import Tensors, load_state, state_of
from core.files import load_tensors, save_tensors
from core.training.finetune import FineTuning
from core.training.fitted import Point
from core.training.pretrain import load_moments, moments_of

SCHEMA_VERSION = 1
_NUMBERS = ("step", "best_step", "threshold", "seconds", "evaluation_seconds")


@dataclass
class Progress:
    """All that the rest of a fine-tuning depends on, beside weights and moments."""

    threshold: float
    """That goes with the best state."""
    step: int = 0
    """Optimizer steps taken."""
    curve: list[Point] = field(default_factory=list)
    best: Tensors = field(default_factory=dict)
    """Weights of the best state."""
    best_step: int = 0
    seconds: float = 0.0
    evaluation_seconds: float = 0.0

    @property
    def best_score(self) -> float:
        """Of the points so far; minus infinity where none has a score."""
        return max((point.validation for point in self.curve if point.validation is not None), default=-math.inf)

    @property
    def stale(self) -> int:
        """Scores in a row, at the end, that are no better than the best before them."""
        best, stale = -math.inf, 0
        for score in (point.validation for point in self.curve if point.validation is not None):
            stale = 0 if score > best else stale + 1
            best = max(best, score)
        return stale


def save_progress(path: Path, progress: Progress, training: FineTuning, *, identity: str) -> None:
    """Write progress, weights and moments, atomically; `identity` is a digest of what the fine-tuning was asked for."""
    model, moments = state_of(training.model), moments_of(training.model, training.optimizer)
    groups = {"model": model, "moments": moments, "best": progress.best}
    tensors = {f"{group}/{name}": value for group, own in groups.items() for name, value in own.items()}
    meta = {name: getattr(progress, name) for name in _NUMBERS}
    curve = [[point.step, point.loss, point.validation] for point in progress.curve]
    document = {**meta, "curve": curve, "identity": identity, "schema_version": SCHEMA_VERSION}
    save_tensors(path, tensors, meta=document)


def load_progress(path: Path, training: FineTuning, *, identity: str) -> Progress:
    """Set weights and moments; returns the progress. Raises CheckpointError when damaged or of another identity."""
    tensors, meta = load_tensors(path, schema=SCHEMA_VERSION)
    if meta.get("identity") != identity:
        raise CheckpointError(
            f"{path}: is of another fine-tuning (task, encoder, images, seed or steps differ); "
            "give another folder, or remove it to start over"
        )
    groups: dict[str, Tensors] = {"model": {}, "moments": {}, "best": {}}
    for name, value in tensors.items():
        group, rest = name.split("/", 1)
        groups[group][rest] = value
    load_state(training.model, groups["model"])
    load_moments(training.model, training.optimizer, groups["moments"])
    curve = [Point(step=step, loss=loss, validation=score) for step, loss, score in meta["curve"]]
    return Progress(curve=curve, best=groups["best"], **{name: meta[name] for name in _NUMBERS})
