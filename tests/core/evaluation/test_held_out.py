"""The held-out loss: fixed corruptions, one value a patient."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.data.augmentation import standardize, to_float
from core.data.cache import open_cache
from core.data.manifest import Manifest
from core.evaluation.held_out import HeldOut, batches, features
from core.federation.plan import Plan
from core.models.build import build_model
from core.objectives.dual_mim import DualMIM


@pytest.fixture
def held_out(manifest: Manifest, cache_folder: Path) -> HeldOut:
    """All tiny images, two corruptions each."""
    cache = open_cache(manifest, folder=cache_folder, side=20)
    rows = tuple(range(len(manifest.records)))
    return HeldOut(manifest=manifest, cache=cache, rows=rows, side=16, seed=5, masks=2, batch=7)


@pytest.fixture
def dual(plan: Plan) -> DualMIM:
    """The plan's first model."""
    return build_model(plan.encoder, plan.objective, seed=plan.seed)


def test_a_patients_loss_is_the_mean_over_its_frames_and_corruptions(held_out: HeldOut, dual: DualMIM) -> None:
    losses = held_out.losses(dual)
    assert {organ: sum(o == organ for o, _ in losses.values()) for organ in ("breast", "kidney", "liver")} == {
        "breast": 4,
        "kidney": 3,
        "liver": 5,
    }
    rows = [row for row in held_out.rows if held_out.manifest.records[row].patient == "north-liver-2"]
    assert len(rows) == 2
    values = []
    with torch.no_grad():
        for row in rows:
            for repeat in range(2):
                parts = dual(held_out.images([row]), seeds_B=held_out.seeds([row], repeat=repeat))
                values.append(float(parts.total_B))
    assert len(set(values)) == 4
    organ, loss = losses["north-liver-2/liver"]
    assert organ == "liver"
    assert loss == pytest.approx(sum(values) / 4, rel=1e-6)


def test_the_same_model_gets_the_same_bits_again_even_after_training_mode(held_out: HeldOut, dual: DualMIM) -> None:
    first = held_out.losses(dual)
    dual.train()
    torch.rand(5)
    assert held_out.losses(dual) == first


def test_rows_added_to_the_manifest_change_nothing_for_the_others(
    held_out: HeldOut, dual: DualMIM, cache_folder: Path
) -> None:
    fewer = Manifest(path=held_out.manifest.path, records=held_out.manifest.records[6:])
    cache = open_cache(fewer, folder=cache_folder, side=20)
    part = replace(held_out, manifest=fewer, cache=cache, rows=tuple(range(len(fewer.records)))).losses(dual)
    whole = held_out.losses(dual)
    assert part
    for patient, (organ, loss) in part.items():
        if patient in {f"{r.patient}/{r.organ}" for r in held_out.manifest.records[:6]}:
            continue
        assert whole[patient] == (organ, pytest.approx(loss, rel=1e-6))


def test_the_batch_changes_rounding_only(held_out: HeldOut, dual: DualMIM) -> None:
    one, all_at_once = replace(held_out, batch=1).losses(dual), replace(held_out, batch=100).losses(dual)
    assert {k: v for k, (_, v) in one.items()} == pytest.approx({k: v for k, (_, v) in all_at_once.items()}, rel=1e-5)


def test_seeds_differ_by_image_repeat_and_run(held_out: HeldOut) -> None:
    seeds = [held_out.seeds(held_out.rows, repeat=repeat).tolist() for repeat in range(2)]
    seeds.append(replace(held_out, seed=6).seeds(held_out.rows, repeat=0).tolist())
    assert len({seed for row in seeds for seed in row}) == 3 * len(held_out.rows)


def test_a_patient_with_two_organs_counts_under_each(held_out: HeldOut, dual: DualMIM) -> None:
    renamed = tuple(replace(record, patient="p") for record in held_out.manifest.records)
    losses = replace(held_out, manifest=replace(held_out.manifest, records=renamed)).losses(dual)
    assert {key: organ for key, (organ, _) in losses.items()} == {
        "p/breast": "breast", "p/kidney": "kidney", "p/liver": "liver"
    }  # fmt: skip


def test_features_are_the_encoders_row_by_row(held_out: HeldOut, dual: DualMIM) -> None:
    rows = [5, 0, 3]
    found = features(dual.encoder, held_out.cache, rows, side=16, batch=2)
    pixels = torch.from_numpy(np.ascontiguousarray(held_out.cache.images(np.array(rows))))
    with torch.no_grad():
        expected = dual.encoder.features(standardize(to_float(pixels, side=16))).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert features(dual.encoder, held_out.cache, [], side=16, batch=2).shape == (0, 0)


def test_batches_hold_every_row_once_in_order() -> None:
    assert batches([4, 2, 9, 1, 7], size=2) == [[4, 2], [9, 1], [7]]
    assert batches([], size=2) == []
