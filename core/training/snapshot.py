"""A model with its optimizer state on disk, so that an arm can go on after a kill."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.federation.tensors import load_state, state_of
from core.files import load_tensors, save_tensors
from core.training.finetune import FineTuning
from core.training.pretrain import Pretraining, load_moments, moments_of

SCHEMA_VERSION = 1


def save_snapshot(path: Path, training: Pretraining | FineTuning, *, step: int, extra: Mapping[str, Any]) -> None:
    """Write weights, moments and the number of steps taken, atomically."""
    weights = {f"model/{name}": value for name, value in state_of(training.model).items()}
    moments = {f"moments/{name}": value for name, value in moments_of(training.model, training.optimizer).items()}
    meta = {**extra, "schema_version": SCHEMA_VERSION, "step": step}
    save_tensors(path, {**weights, **moments}, meta=meta)


def load_snapshot(path: Path, training: Pretraining | FineTuning) -> tuple[int, dict[str, Any]]:
    """Set weights and moments; returns the number of steps taken and what was saved beside them."""
    tensors, meta = load_tensors(path, schema=SCHEMA_VERSION)
    groups: dict[str, dict[str, Any]] = {"model": {}, "moments": {}}
    for name, value in tensors.items():
        group, rest = name.split("/", 1)
        groups[group][rest] = value
    load_state(training.model, groups["model"])
    load_moments(training.model, training.optimizer, groups["moments"])
    return int(meta["step"]), meta
