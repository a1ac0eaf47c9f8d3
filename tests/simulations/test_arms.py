"""The arms differ in what they may see, and in nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from core.federation.tensors import digest_of, state_of
from core.models.build import build_model
from server.study import study_from_json, study_to_json
from simulations.arms import Bench, plan_of, study_of
from simulations.display import Display
from simulations.prepare import prepare, write_sites

Make = Callable[..., Any]


@pytest.fixture
def bench(configure: Make, tmp_path: Path) -> Make:
    """(key=value, ...) -> the tiny run's bench."""

    def make(*overrides: str) -> Bench:
        config = configure(*overrides)
        prepared = prepare(config, progress=lambda what, done, total: None)
        write_sites(prepared, folder=tmp_path / "sites")
        display = Display(Console(quiet=True))
        return Bench(config=config, prepared=prepared, plan=plan_of(config, prepared), display=display, folder=tmp_path)

    return make


def test_the_study_survives_its_way_through_json(configure: Make) -> None:
    study = study_of(configure(), weighting="fedavg")
    assert study_from_json(json.loads(json.dumps(study_to_json(study)))) == study


def test_the_plan_counts_training_patients_only(bench: Make) -> None:
    it = bench()
    assert it.plan.counts == {
        site: {organ: n for organ, n in held.items() if n} for site, held in it.prepared.case_mix.items()
    }
    assert sum(it.plan.weights.values()) == pytest.approx(1, abs=1e-12)


def test_every_arm_starts_from_the_same_weights(bench: Make) -> None:
    it = bench()
    fresh = state_of(build_model(it.plan.encoder, it.plan.objective, seed=it.plan.seed))
    assert digest_of(it.random_init().model) == digest_of(fresh)
    assert digest_of(bench("seed=5").random_init().model) != digest_of(fresh)


def test_arms_of_the_same_seed_repeat_and_of_another_differ(bench: Make, tmp_path: Path) -> None:
    first, again = (bench().alone("east", tmp_path / name) for name in ("a", "b"))
    other = bench("seed=5").alone("east", tmp_path / "c")
    assert digest_of(first.model) == digest_of(again.model) != digest_of(other.model)


def test_a_hospital_alone_draws_from_its_own_training_patients(bench: Make) -> None:
    it = bench()
    for site, patients in it.prepared.hospitals.items():
        source = it._source(set(patients), {"breast": 0.5, "liver": 0.5}, stream=site)
        drawn = {it.prepared.manifest.records[row].patient for row in source.rows_N}
        assert drawn == set(patients)


def test_the_pooled_arms_draw_from_every_training_patient_by_the_plans_mix(bench: Make, tmp_path: Path) -> None:
    it = bench()
    wide, long = it.pooled(tmp_path / "wide", wide=True), it.pooled(tmp_path / "long", wide=False)
    # R H steps at K B against K R H steps at B: as many images, seen in 3 segments each.
    assert wide.images == long.images == 72
    assert [images for images, _ in wide.curve] == [images for images, _ in long.curve] == [24, 48, 72]
    assert digest_of(wide.model) != digest_of(long.model)


def test_the_two_federations_differ_in_weights_and_draws_only(bench: Make, tmp_path: Path) -> None:
    it = bench()
    ours = it.federated(tmp_path / "ours", weighting="organ_aware")
    base = it.federated(tmp_path / "base", weighting="fedavg")
    documents = [json.loads((tmp_path / name / "server" / "plan.json").read_text()) for name in ("ours", "base")]
    differing = {key for key in documents[0] if documents[0][key] != documents[1][key]}
    assert differing <= {"study", "weighting", "weights", "draws", "mix"}
    assert {"study", "weighting"} <= differing
    assert ours.images == base.images == 72
    assert digest_of(ours.model) != digest_of(base.model)


def test_the_federations_plan_is_that_of_the_bench(bench: Make, tmp_path: Path) -> None:
    it = bench()
    it.federated(tmp_path / "ours", weighting="organ_aware")
    assert (tmp_path / "ours" / "server" / "plan.json").read_text() == it.plan.document


def test_the_curve_of_a_federation_is_the_weighted_loss_of_each_round(bench: Make, tmp_path: Path) -> None:
    it = bench("skip.north=[1]")
    trained = it.federated(tmp_path / "f", weighting="organ_aware")
    lines = (tmp_path / "f" / "server" / "receipts.jsonl").read_text().splitlines()
    for (_, loss), line in zip(trained.curve, lines, strict=True):
        entries = json.loads(line)["contributors"].values()
        weight = sum(entry["weight"] for entry in entries)
        assert loss == pytest.approx(sum(e["weight"] * e["metrics"]["loss"] for e in entries) / weight)
    # Three, two and three hospitals with 2 steps of 4 images.
    assert [images for images, _ in trained.curve] == [24, 40, 64]
    assert trained.images == 64
