"""The encoder that every arm starts from: random weights, those of a finished run, or a file's."""

import csv
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from core.errors import ConfigError
from core.federation.tensors import Tensors, encoder_part, problems_with, spec_of, state_of
from core.files import load_tensors
from core.models.encoder import build_encoder
from core.models.normalization import PER_IMAGE
from core.models.weights import load_encoder
from simulations.federated_finetune.config import FederatedFinetuneConfig
from simulations.results import SCHEMA_VERSION
from simulations.saved_run import SavedRun, read_run

Patient = tuple[str, str]
"""Data set and patient."""


class Start(NamedTuple):
    """Where every arm starts."""

    encoder: Tensors | None
    """Tensors named as in `Encoder`; None for random weights by the training seed."""
    source: str
    """In words, without the folders of this machine."""


def start_of(config: FederatedFinetuneConfig, *, held_out: Collection[Patient] = ()) -> Start:
    """The encoder to start from.

    Args:
        config: The run's configuration.
        held_out: Patients whom no encoder may have seen. Of a weights file nobody can tell, so its source says so.

    Raises:
        ConfigError: The run has no such arm or saw held-out patients, or the weights are of another architecture.
        CheckpointError: A file is damaged.
    """
    if config.start.weights:
        start = _of_file(Path(config.start.weights), side=config.encoder.side)
    elif config.start.run:
        start = _of_run(config, held_out)
    else:
        return Start(None, "random weights by the training seed")
    assert start.encoder is not None
    if problems := problems_with(start.encoder, spec_of(state_of(build_encoder(config.encoder, seed=0)))):
        title = f"start, {start.source}: not an encoder as the section encoder says"
        raise ConfigError(problems, title=title)
    return start


def _of_file(path: Path, *, side: int) -> Start:
    loaded = load_encoder(path, side=side)
    source = f"weights {path.name} ({loaded.sha256[:12]}), which may have seen the held-out patients"
    if loaded.normalization != PER_IMAGE:
        source += f", made for input normalized by {loaded.normalization}, here of mean 0 and deviation 1 an image"
    return Start(state_of(loaded.encoder), source)


def _of_run(config: FederatedFinetuneConfig, held_out: Collection[Patient]) -> Start:
    run = read_run(Path(config.start.run))
    seen = set(_trained_on(run))
    if not seen:
        raise ConfigError(f"start.run: {run.folder} has no sites/*/manifest.csv, which tell whom it was trained on")
    if leaked := seen.intersection(held_out):
        raise ConfigError(
            f"start.run: that run trained on {len(leaked)} patients who are held out here; take its seed and shares"
        )
    seed = (run.metrics.get("seeds") or [0])[0]
    path = run.folder / "arms" / f"seed-{seed}" / config.start.arm / "arm.safetensors"
    if not path.exists():
        raise ConfigError(f"start.arm: {run.folder} has no arm {config.start.arm}; one of arms/seed-{seed} is meant")
    model = load_tensors(path, schema=SCHEMA_VERSION)[0]
    return Start(encoder_part(model), f"run {run.name}, arm {config.start.arm}, seed {seed}")


def _trained_on(run: SavedRun) -> Iterator[Patient]:
    """The training patients of a run's hospitals, which are those of its pooled arms too."""
    for path in sorted(run.folder.glob("sites/*/manifest.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            yield from ((row.get("dataset") or "", row.get("patient") or "") for row in csv.DictReader(file))
