"""Train a tiny model for some steps and save its weights; Fabric starts the second process when there are two devices.

python tests/core/training/two_processes.py FOLDER DEVICES ACCUMULATE
"""

import sys
from pathlib import Path

import numpy as np
import torch

from core.data.augmentation import AugmentationConfig
from core.data.cache import open_cache
from core.data.manifest import load_manifest
from core.data.sampling import OrganSampler
from core.federation.tensors import state_of
from core.files import save_tensors
from core.models.build import build_model
from core.training.pretrain import Pretraining, moments_of
from core.training.settings import TrainingConfig
from core.training.source import Source

ENCODER = {"size": "custom", "width": 16, "depth": 1, "heads": 2, "patch": 4, "side": 16, "channels": 1}
OBJECTIVE = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
STEPS = 5


def main(folder: Path, *, devices: int, accumulate: int) -> None:
    """Write `folder/<devices>-<accumulate>.safetensors` from the process of rank 0."""
    torch.set_num_threads(1)
    manifest = load_manifest(folder / "manifest.csv")
    source = Source(
        cache=open_cache(manifest, folder=folder / "cache", side=20),
        sampler=OrganSampler(manifest.records, {"breast": 0.5, "liver": 0.5}),
        rows_N=np.arange(len(manifest.records)),
        augmentation=AugmentationConfig(),
        side=16,
        seed=7,
        stream="east",
    )
    config = TrainingConfig(batch=8, devices=devices, accumulate=accumulate, accelerator="cpu", clip_norm=0.1)
    training = Pretraining(build_model(ENCODER, OBJECTIVE, seed=7), config=config, total_steps=STEPS)
    assert training.fabric.world_size == devices
    summary = training.run(source, first=0, steps=STEPS)
    if training.fabric.global_rank == 0:
        weights = {f"model/{name}": value for name, value in state_of(training.model).items()}
        moments = {f"moments/{name}": value for name, value in moments_of(training.model, training.optimizer).items()}
        losses = {"loss": summary.loss, "spatial": summary.spatial, "frequency": summary.frequency}
        path = folder / f"{devices}-{accumulate}.safetensors"
        save_tensors(path, weights | moments, meta={"schema_version": 1, "images": summary.images, **losses})


if __name__ == "__main__":
    main(Path(sys.argv[1]), devices=int(sys.argv[2]), accumulate=int(sys.argv[3]))
