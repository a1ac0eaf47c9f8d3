"""One cell: an encoder fine-tuned once, scored, and kept as a file that says what it was made of.

A cell's file holds a key, the digests of all that the cell follows from. A finished cell is never computed again; one
with another key is refused.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import CheckpointError, DataError, TrainingError
from core.evaluation.downstream import evaluate
from core.evaluation.gain import ByPatient
from core.evaluation.label_efficiency.budgets import Budget, Undefined
from core.evaluation.label_efficiency.cells import Cell, cell_from
from core.evaluation.metrics.score import TaskScore
from core.files import write_bytes, write_json
from core.training.fit import fit
from core.training.fitted import Fitted
from simulations.label_efficiency.bench import Bench, opened
from simulations.label_efficiency.encoders import encoder_name, read_encoder
from simulations.label_efficiency.predictions import evaluation_seed, examples_path, keep_examples

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What one cell is made of; it travels to the process that computes it."""

    task: str
    arm: str
    """An arm of the study, or `local:<hospital>`: what is computed is known by its encoder, not by its part."""
    budget: Budget
    draw: int
    steps: int
    encoder: str
    patients: tuple[str, ...]
    """Labelled training patients; empty where the budget cannot be met."""
    reason: str
    """Why it cannot."""
    key: Mapping[str, str]
    """Digests of all that the cell follows from."""
    path: Path
    """Its file."""

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.task}/{self.budget}/{self.arm}/draw-{self.draw}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A finished cell."""

    cell: Cell
    validation: ByPatient
    """Validation patient to the primary metric, as `Cell.by_patient`; empty without a score."""


def job_of(
    bench: Bench,
    digests: Mapping[str, str],
    *,
    task: str,
    arm: str,
    budget: Budget,
    draw: int,
    steps: int,
    folder: str = "cells",
) -> Job:
    """The job of one cell; its file is `<folder>/<task>/<budget>/<arm>/draw-<draw>.json` below the study's."""
    chosen = bench.labelled(task, draw=draw)[budget]
    patients = () if isinstance(chosen, Undefined) else tuple(chosen)
    encoder = encoder_name(bench, arm, draw=draw)
    key = {
        "task": _digest(asdict(bench.tasks[task])),
        "encoder": digests[encoder],
        "steps": str(steps),
        "labelled patients": _digest(sorted(patients)),
        "images": bench.digest,
        "seed and draw": f"{bench.config.seed}, {draw}",
    }
    return Job(
        task=task, arm=arm, budget=budget, draw=draw, steps=steps, encoder=encoder, patients=patients, key=key,
        reason=chosen.reason if isinstance(chosen, Undefined) else "",
        path=bench.folder / folder / task / str(budget) / arm / f"draw-{draw}.json",
    )  # fmt: skip


def read_cell(job: Job) -> Found | None:
    """A finished cell, or None; raises CheckpointError for a damaged file and for one of another key."""
    path = job.path
    try:
        content = json.loads(path.read_bytes())
        if content["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {content['schema_version']}")
        key, validation = dict(content["key"]), dict(content["validation"])
        found = Found(cell=cell_from(content["cell"], place=str(path)), validation=validation)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: no cell ({error}); remove the file to compute it again") from error
    if changed := [name for name in {**key, **job.key} if key.get(name) != job.key.get(name)]:
        raise CheckpointError(
            f"{path}: this cell was computed with other {', '.join(changed)}; start a new study under another "
            "name=NAME, or remove this one with --overwrite"
        )
    return found


def compute_cell(folder: Path, job: Job) -> None:
    """Fine-tune, score and write one cell.

    Training or predictions that do not stay finite, or nothing to learn, make a cell without a value and
    with its reason: one arm's weights must not end the study.

    Raises:
        UsfmError: What the encoder's file, the images or the disk raise.
    """
    bench, began = opened(folder), time.monotonic()
    if job.reason:
        _write(job, _no_value(job, job.reason), {})
        return
    data = bench.data[job.task]
    train = data.train.of(job.patients)
    encoder = read_encoder(folder, job.encoder, digest=job.key["encoder"])
    seed = evaluation_seed(bench, job.task)
    try:
        fitted = fit(
            encoder, train, data.validation,
            task=data.task, seed=bench.seed(job.task, "fit", job.draw), steps=job.steps,
        )  # fmt: skip
        score = evaluate(fitted, data.test, seed=seed, spacing_N2=data.spacing_N2)
        validation = evaluate(fitted, data.validation, seed=seed) if len(data.validation) else None
    except (DataError, TrainingError) as error:
        _write(job, replace(_no_value(job, str(error)), patients=len(job.patients)), {})
        return
    keep_examples(bench, fitted, job.path, task=job.task, budget=job.budget, draw=job.draw)
    _write(
        job, _cell(job, fitted, score, seconds=time.monotonic() - began), validation.by_patient if validation else {}
    )


def adopt_cell(job: Job, other: Job) -> None:
    """Make a finished cell that was computed for something else, with the same key, the cell of a job."""
    if job.path.exists() or read_cell(other) is None:
        return
    if (shown := examples_path(other.path)).exists():
        write_bytes(examples_path(job.path), shown.read_bytes())
    write_bytes(job.path, other.path.read_bytes())


def _cell(job: Job, fitted: Fitted, score: TaskScore, *, seconds: float) -> Cell:
    headline = score.headline
    return Cell(
        task=job.task,
        arm=job.arm,
        budget=job.budget,
        draw=job.draw,
        patients=len(job.patients),
        value=headline.value,
        reason=headline.reason if headline.value is None else "",
        by_patient=score.by_patient,
        metrics={name: asdict(found) for name, found in score.metrics.items()},
        validation=fitted.validation,
        steps=fitted.steps,
        best_step=fitted.best_step,
        seconds=seconds,
        images=fitted.images,
    )


def _no_value(job: Job, reason: str) -> Cell:
    return Cell(
        task=job.task, arm=job.arm, budget=job.budget, draw=job.draw, patients=0, value=None, reason=reason,
        by_patient={}, metrics={}, validation=None, steps=0, best_step=0, seconds=0.0, images=0,
    )  # fmt: skip


def _write(job: Job, cell: Cell, validation: ByPatient) -> None:
    write_json(job.path, {"schema_version": SCHEMA_VERSION, "key": dict(job.key), "validation": validation,
                          "cell": cell.document()})  # fmt: skip


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
