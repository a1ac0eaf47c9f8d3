"""Fine-tune on labelled training patients; validation patients choose the state that is kept and its threshold.

The same arguments give the same bits, also where a kill came between: with a folder, everything that the rest depends
on is saved whenever validation patients are scored, and the same call goes on from there.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core.data.labelled import Labelled
from core.errors import ConfigError, DataError, TrainingError
from core.evaluation.downstream import NO_THRESHOLD, Chooser, obstacle
from core.federation.tensors import digest_of, load_state, state_of
from core.models.encoder import Encoder
from core.models.task_model import build_task_model
from core.seeding import derive
from core.training.finetune import FineTuning, OnStep
from core.training.fitted import Fitted, Point, load_fitted, save_fitted
from core.training.labelled_source import LabelledSource
from core.training.progress import Progress, load_progress, save_progress
from core.training.task import Task

__all__ = ["Fitted", "OnPoint", "Point", "fit", "load_fitted", "save_fitted"]

SNAPSHOT = "fit.safetensors"
"""Name of the file inside `folder`."""

OnPoint = Callable[[Point], None]
"""Told after validation patients were scored, and after that was saved."""


def fit(
    encoder: Encoder,
    train: Labelled,
    validation: Labelled,
    *,
    task: Task,
    seed: int,
    steps: int | None = None,
    folder: Path | None = None,
    on_step: OnStep | None = None,
    on_point: OnPoint | None = None,
    stream: str = "fit",
) -> Fitted:
    """Fine-tune a copy of an encoder, and a fresh head, on one place's labelled images.

    Args:
        encoder: Where training starts; left as it is.
        train: What is learnt from; at least one image with what the task needs.
        validation: What chooses state and threshold, and stops early; of other patients. Where it holds nothing that
            can be scored, the last state is kept and `Fitted.note` says so.
        task: What is learnt, and how.
        seed: With the task's name it fixes the head's first weights and, with `stream`, every draw.
        steps: Optimizer steps in place of the task's.
        folder: Where to keep a snapshot; one that is there already is gone on from.
        on_step: Told after each step; after a kill, again for the steps since the last snapshot.
        on_point: Told after each validation of this call.
        stream: What tells this place's draws from another's.

    Returns:
        The best state: of the highest validation score, the latest of equals, since later steps are smaller.

    Raises:
        ConfigError: `steps` is below 1.
        DataError: Nothing in `train` to learn from.
        TrainingError: A loss, a gradient or a prediction is not finite.
        CheckpointError: The snapshot is damaged or of other arguments.
    """
    if steps is not None and steps < 1:
        raise ConfigError(f"{stream}: steps must be at least 1, got {steps}")
    if problem := _nothing_to_learn(train, task, side=encoder.config.side):
        raise DataError(f"{stream}: training images of task {task.name}: {problem}")
    run = _Run(encoder, train, validation, task=task, seed=seed, steps=steps, folder=folder, stream=stream)
    for step in run.points():
        point = run.advance(step, on_step)
        if on_point is not None:
            on_point(point)
    return run.fitted()


class _Run:
    """One call of `fit`."""

    def __init__(
        self,
        encoder: Encoder,
        train: Labelled,
        validation: Labelled,
        *,
        task: Task,
        seed: int,
        steps: int | None,
        folder: Path | None,
        stream: str,
    ) -> None:
        self.began = time.monotonic()
        self.task, self.stream = task, stream
        self.path = None if folder is None else folder / SNAPSHOT
        self.total = task.tuning.steps if steps is None else steps
        self.start = digest_of(state_of(encoder))
        self.classes = [] if train.labels_N is None else np.unique(train.labels_N).tolist()
        own = derive(seed, "fit", task.name)
        self.chooser = Chooser(validation, task=task, side=encoder.config.side, seed=own)
        model = build_task_model(encoder, task, seed=own)
        self.training = FineTuning(model, config=task.tuning, total_steps=self.total, seed=own)
        self.source = LabelledSource(labelled=train, task=task, side=encoder.config.side, seed=own, stream=stream)
        self.done = Progress(threshold=NO_THRESHOLD)
        self.identity = ""
        if self.path is not None:
            asked = [asdict(task), asdict(encoder.config), self.start, seed, self.total, stream]
            self.identity = _identity(asked, train, validation)
            if self.path.exists():
                self.done = load_progress(self.path, self.training, identity=self.identity)

    def points(self) -> Iterator[int]:
        """The steps after which validation patients are still to be scored; asked again after each."""
        for step in _evenly(self.total, parts=self.task.tuning.evaluations):
            if step > self.done.step and not 0 < self.task.tuning.patience <= self.done.stale:
                yield step

    def advance(self, step: int, on_step: OnStep | None) -> Point:
        """Train up to `step`, score, keep the best, save."""
        done = self.done
        summary = self.training.run(
            self.source, first=done.step, steps=step - done.step, on_step=on_step, where=self.stream
        )
        point = self._judge(step, summary.loss)
        done.step = step
        done.curve.append(point)
        done.seconds += time.monotonic() - self.began
        self.began = time.monotonic()
        if self.path is not None:
            save_progress(self.path, done, self.training, identity=self.identity)
        return point

    def _judge(self, step: int, loss: float) -> Point:
        """Score this state; it becomes the best where no earlier one is better."""
        done, began = self.done, time.monotonic()
        score: float | None = None
        threshold = NO_THRESHOLD
        if not self.chooser.obstacle:
            score, threshold = self.chooser.choose(self.training.model)
            if not math.isfinite(score):
                raise TrainingError(
                    f"{self.stream}: predictions for validation images are not finite after step {step}; "
                    "lower tuning.learning_rate or tuning.head_learning_rate"
                )
        if score is None or score >= done.best_score:
            done.best, done.best_step, done.threshold = state_of(self.training.model), step, threshold
        done.evaluation_seconds += time.monotonic() - began
        return Point(step=step, loss=loss, validation=score)

    def fitted(self) -> Fitted:
        """The result of what was done."""
        done, model = self.done, self.training.model
        load_state(model, done.best)
        scores = {point.step: point.validation for point in done.curve}
        return Fitted(
            model=model.eval(),
            task=self.task,
            threshold=done.threshold,
            curve=list(done.curve),
            best_step=done.best_step,
            validation=scores[done.best_step],
            steps=done.step,
            images=done.step * self.task.tuning.batch,
            seconds=done.seconds + time.monotonic() - self.began,
            evaluation_seconds=done.evaluation_seconds,
            note=" ".join(self._notes()),
            start=self.start,
        )

    def _notes(self) -> Iterator[str]:
        if self.chooser.obstacle:
            yield f"No validation score ({self.chooser.obstacle} of a validation patient): the last state is kept."
        if absent := [name for number, name in enumerate(self.task.classes) if number not in self.classes]:
            yield f"No training image of {', '.join(absent)}."
        if self.done.step < self.total:
            yield f"Stopped early, after {self.done.step} of {self.total} steps."


def _evenly(total: int, *, parts: int) -> Iterator[int]:
    """Up to `parts` steps, evenly spaced, the last being `total`."""
    parts = min(parts, total)
    return (-(-total * part // parts) for part in range(1, parts + 1))


def _nothing_to_learn(train: Labelled, task: Task, *, side: int) -> str:
    """Why nothing can be learnt from these images, or nothing."""
    if reason := obstacle(train, task=task, side=side):
        return f"{reason}; label images of training patients"
    if task.kind == "classification" and train.labels_N is not None:
        found = np.unique(train.labels_N)
        if found.min() < 0 or found.max() >= len(task.classes):
            return f"class numbers must lie in 0 to {len(task.classes) - 1}, found {found.tolist()}"
        if len(found) == 1:
            return f"all are of the class {task.classes[int(found[0])]}; give images of two classes or more"
    return ""


def _identity(document: list[Any], *splits: Labelled) -> str:
    """SHA-256 of all that decides the bits of a fine-tuning."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for split in splits:
        digest.update(split.fingerprint.encode())
    return digest.hexdigest()
