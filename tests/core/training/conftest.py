"""Training on the tiny data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.cache import open_cache
from core.data.manifest import Manifest
from core.data.sampling import OrganSampler
from core.federation.plan import Plan
from core.models.build import build_model
from core.training.pretrain import Pretraining
from core.training.settings import TrainingConfig
from core.training.source import Source
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
