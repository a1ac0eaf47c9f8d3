"""The sizes that are meant for a GPU build on a CPU, and take a step there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core import config as configuration
from core.data.augmentation import AugmentationConfig
from core.data.cache import open_cache
from core.data.manifest import load_manifest
from core.data.sampling import OrganSampler
from core.models.build import build_model
from core.training.pretrain import Pretraining
from core.training.source import Source
from server.study import study_to_json
from simulations.arms import study_of
from simulations.config import SimulationConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("file", "parameters"), [("configs/simulation/real_gpu.yaml", 22e6), ("configs/pretrain_base.yaml", 86e6)]
)
def test_a_size_for_a_gpu_takes_a_step(file: str, parameters: float, tiny_manifest: Path, tmp_path: Path) -> None:
    config, _ = configuration.load(SimulationConfig, path=ROOT / file, overrides=())
    sections = study_to_json(study_of(config, weighting="organ_aware"))
    model = build_model(sections["encoder"], sections["objective"], seed=0)
    assert sum(p.numel() for p in model.encoder.parameters()) == pytest.approx(parameters, rel=0.05)
    manifest = load_manifest(tiny_manifest)
    source = Source(
        cache=open_cache(manifest, folder=tmp_path, side=config.data.side),
        rows_N=np.arange(len(manifest.records)),
        sampler=OrganSampler(manifest.records, {"breast": 0.5, "liver": 0.5}),
        augmentation=AugmentationConfig(),
        side=config.encoder.side,
        seed=0,
        stream="test",
    )
    # A compiler would take a minute for what one step does not need.
    small = replace(config.training, batch=2, accelerator="cpu", compile=False)
    summary = Pretraining(model, config=small, total_steps=10).run(source, first=0, steps=1)
    assert 0.5 < summary.loss < 3
