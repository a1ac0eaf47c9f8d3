"""Rows on fine-tuning: how fast each head is trained, and how much of a run is evaluation.

The encoder is that of `configs/simulation/real.yaml` and is trained with the head; the steps are the product's, from
the draw of the images to the optimizer. Images are the built-in breasts, rendered at the side of the cache.

A segmentation or enhancement head is compared with `light`, a classification head with `linear`: the smallest of their
kinds, which cost little more than the encoder. These two are compared with torch alone, which shows what the way to a
step costs: draw, crop, flip, gradient norm, checks.
"""

import importlib
import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from core.data.labelled import Labelled
from core.data.phantom import render
from core.data.phantom_devices import DEVICES, roster
from core.evaluation.downstream import evaluate
from core.models.encoder import Encoder, EncoderConfig, build_encoder
from core.models.task_model import build_task_model
from core.training.finetune import FineTuning
from core.training.fit import fit
from core.training.labelled_source import LabelledSource
from core.training.task import HEADS, HeadConfig, Task, TuningConfig, load_task
from simulations.bench.rows import Row, Settings, Work, in_turn

KINDS = {head: kind for kind, heads in HEADS.items() for head in heads}
"""The kind of task of every head."""
BASELINES = {"classification": "linear", "segmentation": "light", "enhancement": "light"}
"""What a head is compared with, by its kind; it has a row of its own, against torch alone."""
GOALS = {"linear": 0.8, "attentive": 0.8, "light": 0.8, "upernet": 0.25, "segvit": 0.5, "restore": 0.5}
"""Least ratios: a quarter more time where the encoder is nearly all of the work; twice the time for a decoder, or for
degraded images; four times for UPerNet, whose finest map is four times as fine as the patches."""
CASES = ["normal", "benign", "malignant"]
CACHED = 72
"""Pixels, a side of a cached image."""
MOST = 0.3
"""Of a fine-tuning run's seconds, for evaluation."""
MILLIMETRES = 0.5
"""From one pixel to the next; known, so that distances are taken in pixels and in millimetres."""


def rows() -> dict[str, Callable[[Settings], Row]]:
    """A measure for every head, by the name of its row."""
    return {f"tune-{head}": partial(training, head=head) for head in GOALS}


def training(settings: Settings, *, head: str) -> Row:
    """Steps with this head against steps with its baseline."""
    task, other = _task(head), _task(BASELINES[KINDS[head]])
    alone = head == other.head_kind
    labelled = breasts(6 if settings.small else 32)
    row = Row(
        name=f"tune-{head}",
        baseline_name=f"{head} head in torch alone, one batch in memory" if alone else f"{other.head_kind} head",
        ours_name=f"{head} head",
        goal=GOALS[head],
        unit="s/image",
        items="images",
        sizes=f"{_sizes(settings)}, batch {task.tuning.batch}, encoder trained",
        threads=settings.threads,
    )
    baseline = _bare(settings, task, labelled) if alone else _step(settings, other, labelled)
    found = in_turn(row, baseline=baseline, ours=_step(settings, task, labelled), seconds=settings.seconds)
    assert found.baseline is not None
    assert found.ours is not None
    return replace(found, baseline=found.baseline / other.tuning.batch, ours=found.ours / task.tuning.batch)


def evaluation(settings: Settings) -> Row:
    """The share of a segmentation's run that goes to validation and test patients.

    The median of the runs counts. The light head is the quickest to train, so its share is the largest.
    """
    train, validation, test = (6, 4, 4) if settings.small else (200, 60, 100)
    task = load_task(Path(str(files("configs") / "tasks" / "breast_lesion.yaml")))
    task = replace(task, tuning=replace(task.tuning, accelerator="cpu"))
    steps = 2 if settings.small else task.tuning.steps
    every = np.arange(train + validation + test)
    labelled, encoder = breasts(len(every)), _encoder(settings)
    splits = [labelled.at(rows_N) for rows_N in np.split(every, [train, train + validation])]
    # The first of a process to ask for distances waits seconds for this import, and for much else the first time.
    importlib.import_module("monai.metrics")
    _share(encoder, splits, task=task, steps=1)
    shares: list[float] = []
    end = time.monotonic() + 2 * settings.seconds
    while time.monotonic() < end or len(shares) < 3:
        shares.append(_share(encoder, splits, task=task, steps=steps))
    return Row(
        name="tune-evaluation",
        baseline_name="share allowed",
        ours_name=f"share of evaluation: validation {task.tuning.evaluations} times, test once, HD95 included",
        goal=1.0,
        unit="of the run",
        sizes=f"{_sizes(settings)}, {task.head_kind} head, {steps} steps of {task.tuning.batch}; "
        f"{train} training, {validation} validation, {test} test images",
        threads=settings.threads,
        baseline=MOST,
        ours=statistics.median(shares),
    )


def _share(encoder: Encoder, splits: list[Labelled], *, task: Task, steps: int) -> float:
    """Of one run: seconds of evaluation by all seconds."""
    train, validation, test = splits
    fitted = fit(encoder, train, validation, task=task, seed=0, steps=steps)
    start = time.perf_counter()
    evaluate(fitted, test, seed=0, spacing_N2=np.full((len(test), 2), MILLIMETRES))
    seconds = time.perf_counter() - start
    return (fitted.evaluation_seconds + seconds) / (fitted.seconds + seconds)


def breasts(patients: int) -> Labelled:
    """One image of each patient of the built-in data, with mask and class; a quarter is normal, its mask empty."""
    entries = roster("breast", seed=0, patients=patients, devices=len(DEVICES))
    made = [
        render("breast", seed=0, patient=number, frame=0, side=CACHED, device=device, case=case)
        for number, (device, case) in enumerate(entries)
    ]
    masks = [frame.mask for frame in made if frame.mask is not None]
    return Labelled(
        images_NSS=np.stack([frame.image for frame in made]),
        patients_N=np.array([f"breast_{number}" for number in range(patients)]),
        masks_NSS=np.stack(masks) // 255,
        labels_N=np.array([CASES.index(case) for _, case in entries]),
    )


def shape_of(settings: Settings) -> EncoderConfig:
    """The committed regime's encoder."""
    width, depth, heads = (32, 1, 2) if settings.small else (128, 4, 4)
    return EncoderConfig(size="custom", width=width, depth=depth, heads=heads, patch=8, side=64, channels=1)


def _encoder(settings: Settings) -> Encoder:
    return build_encoder(shape_of(settings), seed=0)


def _sizes(settings: Settings) -> str:
    shape = shape_of(settings)
    return f"width {shape.width}, {shape.depth} blocks, {shape.side} px in patches of {shape.patch}"


def _task(head: str) -> Task:
    return Task(
        name="bench",
        kind=KINDS[head],
        classes=CASES if KINDS[head] == "classification" else [],
        head=HeadConfig(kind=head),
        tuning=TuningConfig(accelerator="cpu"),
    )


def _step(settings: Settings, task: Task, labelled: Labelled) -> Work:
    """One optimizer step of the product."""
    model = build_task_model(_encoder(settings), task, seed=0)
    tuning = FineTuning(model, config=task.tuning, total_steps=1_000_000, seed=0)
    source, numbers = _source(settings, task, labelled), itertools.count()
    return lambda: tuning.run(source, first=next(numbers), steps=1)


def _bare(settings: Settings, task: Task, labelled: Labelled) -> Work:
    """One optimizer step of the same model as torch alone takes it, always of the same images."""
    model = build_task_model(_encoder(settings), task, seed=0).train()
    # At rate 0, so that a batch met again and again is not learnt by heart; it costs the same.
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)
    images_B1EE, targets = _source(settings, task, labelled).batch(0, size=task.tuning.batch)

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(model.loss(images_B1EE, targets))
        optimizer.step()

    return step


def _source(settings: Settings, task: Task, labelled: Labelled) -> LabelledSource:
    return LabelledSource(labelled=labelled, task=task, side=shape_of(settings).side, seed=0, stream="bench")
