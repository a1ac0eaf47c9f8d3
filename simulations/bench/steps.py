"""Rows on the pretraining step: the real one, from the draw of the images to the optimizer.

The fast setting computes the same objective; bf16-mixed rounds in its matrix products, so that its numbers differ.
"""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from core.data.augmentation import AugmentationConfig
from core.data.cache import open_cache
from core.data.manifest import load_manifest
from core.data.phantom import build_phantom
from core.data.sampling import OrganSampler
from core.models.build import build_model
from core.training.pretrain import Pretraining
from core.training.settings import TrainingConfig
from core.training.source import Source
from simulations.bench.rows import Row, Settings, Work, in_turn

EAGER = TrainingConfig(batch=40)
"""What a run does unless told otherwise."""
FAST = replace(EAGER, precision="bf16-mixed")
"""The fastest setting for the same objective on a CPU with bfloat16."""


def same_objective(settings: Settings) -> Row:
    """Our fast setting against our eager float32 step."""
    row = Row(
        name="step-same-objective",
        baseline_name="visible-only step, eager float32",
        ours_name="visible-only step, bf16-mixed",
        goal=1.4,
        sizes=_sizes(settings),
        threads=settings.threads,
    )
    baseline, ours = (_step(settings, "visible", config) for config in (EAGER, FAST))
    return in_turn(row, baseline=baseline, ours=ours, seconds=settings.seconds)


def visible_only(settings: Settings) -> Row:
    """The visible-only objective in the fast setting against all tokens in float32."""
    row = Row(
        name="step-visible",
        baseline_name="all-token step, eager float32",
        ours_name="visible-only step, bf16-mixed",
        goal=4.0,
        sizes=_sizes(settings),
        threads=settings.threads,
    )
    baseline, ours = _step(settings, "all", EAGER), _step(settings, "visible", FAST)
    return in_turn(row, baseline=baseline, ours=ours, seconds=settings.seconds)


def against_peak(settings: Settings) -> Row:
    """The float32 step's time for each operation of its matrix products, against a large matrix product's."""
    side = 64 if settings.small else 2048
    left, right, out = (torch.rand(side, side, generator=torch.Generator().manual_seed(0)) for _ in range(3))
    row = Row(
        name="step-peak",
        baseline_name=f"matrix product {side} x {side}, float32",
        ours_name="visible-only step, eager float32",
        goal=0.6,
        unit="ps/FLOP",
        sizes=_sizes(settings),
        threads=settings.threads,
    )
    step = _step(settings, "visible", EAGER)
    found = in_turn(row, baseline=lambda: torch.mm(left, right, out=out), ours=step, seconds=settings.seconds)
    assert found.baseline is not None
    assert found.ours is not None
    whole, each = 1e12 * found.baseline, 1e12 * found.ours
    return replace(row, baseline=whole / (2 * side**3), ours=each / _operations(settings))


def _encoder(settings: Settings) -> dict[str, Any]:
    shape = (32, 1, 2) if settings.small else (192, 12, 3)
    return dict(zip(("width", "depth", "heads"), shape, strict=True)) | {
        "size": "custom",
        "patch": 8,
        "side": 64,
        "channels": 1,
    }


def _objective(tokens: str) -> dict[str, Any]:
    return {"tokens": tokens, "mask_ratio": 0.75, "decoder_width": 128, "decoder_depth": 1}


def _sizes(settings: Settings) -> str:
    encoder = _encoder(settings)
    return (
        f"width {encoder['width']}, {encoder['depth']} blocks, {encoder['side']} px in patches of {encoder['patch']}, "
        f"75% hidden, batch {EAGER.batch}"
    )


def _step(settings: Settings, tokens: str, config: TrainingConfig) -> Work:
    """One optimizer step of the product."""
    training = Pretraining(
        build_model(_encoder(settings), _objective(tokens), seed=0), config=config, total_steps=1_000_000
    )
    source = training_source(settings)
    numbers = itertools.count()
    return lambda: training.run(source, first=next(numbers), steps=1)


def training_source(settings: Settings) -> Source:
    """Batches of 64 pixels, cropped from a cache of 72, of a phantom data set."""
    folder = settings.folder / "phantom"
    if not folder.exists():
        build_phantom(folder, seed=0, patients_per_organ=3, frames=2, side=96, devices=1)
    manifest = load_manifest(folder / "manifest.csv")
    organs = sorted(manifest.patients_by_organ())
    return Source(
        cache=open_cache(manifest, folder=settings.folder / "cache", side=72),
        sampler=OrganSampler(manifest.records, dict.fromkeys(organs, 1 / len(organs))),
        rows_N=np.arange(len(manifest.records)),
        augmentation=AugmentationConfig(),
        side=64,
        seed=0,
        stream="bench",
    )


def _operations(settings: Settings) -> int:
    """Floating point operations of one step's matrix products, two for a multiplication and addition."""
    model = build_model(_encoder(settings), _objective("visible"), seed=0)
    images, seeds = training_source(settings).batch(0, size=EAGER.batch)
    # Only the plain form of attention is counted whole: as its two products, forward and backward.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(images, seeds_B=seeds).total_B.mean().backward()
    return int(counter.get_total_flops())
