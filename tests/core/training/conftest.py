"""Training on the tiny data, and tasks of bright squares."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.cache import open_cache
from core.data.labelled import Labelled
from core.data.manifest import Manifest
from core.data.sampling import OrganSampler
from core.federation.plan import Plan
from core.models.build import build_model
from core.models.encoder import Encoder, EncoderConfig, build_encoder
from core.training.pretrain import Pretraining
from core.training.settings import TrainingConfig
from core.training.source import Source
from core.training.task import Task, TuningConfig
from server.study import StudyConfig


@pytest.fixture
def source(manifest: Manifest, cache_folder: Path, study: StudyConfig) -> Source:
    """The pooled tiny data, organs alike."""
    return Source(
        cache=open_cache(manifest, folder=cache_folder, side=20),
        sampler=OrganSampler(manifest.records, {"breast": 0.25, "kidney": 0.25, "liver": 0.5}),
        rows_N=np.arange(len(manifest.records)),
        augmentation=study.augmentation,
        side=16,
        seed=3,
        stream="pool",
    )


@pytest.fixture
def pretraining(plan: Plan) -> Callable[..., Pretraining]:
    """(field=value, ...) -> the plan's model, fresh, with this training configuration and a schedule of 8 steps."""

    def make(**changes: Any) -> Pretraining:
        config = TrainingConfig(**{**plan.training, **changes})
        return Pretraining(build_model(plan.encoder, plan.objective, seed=plan.seed), config=config, total_steps=8)

    return make


def _squares(*, patients: int, name: str, seed: int) -> Labelled:
    """Two images a patient, 20 x 20: a bright square under faint noise, large (class 1) or small (class 0)."""
    rng = np.random.default_rng(seed)
    images, masks = np.zeros((2, 2 * patients, 20, 20), np.uint8)
    labels = np.arange(2 * patients) // 2 % 2
    for number, label in enumerate(labels):
        side = 10 if label else 5
        top, left = rng.integers(0, 20 - side, 2)
        images[number, top : top + side, left : left + side] = 200
        masks[number, top : top + side, left : left + side] = 1
    return Labelled(
        images_NSS=images + rng.integers(0, 30, images.shape, dtype=np.uint8),
        masks_NSS=masks,
        labels_N=labels,
        patients_N=np.array([f"{name}{number // 2}" for number in range(2 * patients)]),
        names_N=np.array([f"{name}{number}.png" for number in range(2 * patients)]),
    )


@pytest.fixture
def squares() -> Callable[..., Labelled]:
    """(name, patients=..., seed=...) -> labelled images of bright squares."""
    return lambda name, *, patients=6, seed=0: _squares(patients=patients, name=name, seed=seed)


@pytest.fixture
def small_encoder() -> Encoder:
    """Three blocks, 16 channels, 4 x 4 patches of 4 x 4 pixels; its weights are random."""
    return build_encoder(
        EncoderConfig(size="custom", width=16, depth=3, heads=2, patch=4, side=16, channels=1, drop_path=0.2), seed=0
    )


@pytest.fixture
def task() -> Callable[..., Task]:
    """(kind, field of tuning=value, ...) -> a task of that kind, 6 steps of 4 images on the CPU."""

    def make(kind: str = "segmentation", **tuning: Any) -> Task:
        values = {"steps": 6, "batch": 4, "evaluations": 3, "accelerator": "cpu", **tuning}
        classes = ["small", "large"] if kind == "classification" else []
        return Task(name="squares", kind=kind, classes=classes, tuning=TuningConfig(**values))

    return make
