"""What a run leaves, and that its numbers follow from each other as `docs/metrics.md` says."""

import hashlib
import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from core.federation.tensors import digest_of
from core.files import load_tensors
from core.models.encoder import EncoderConfig, build_encoder
from core.models.weights import load_encoder
from server.state import Store
from simulations.results import load_result

Make = Callable[..., Any]

BASE = {"random_init", "local:east", "local:north", "local:west", "fedavg", "federated"}
POOLED = {"centralized_wide", "centralized_long"}


@pytest.fixture(scope="module")
def metrics(whole_run: Path) -> dict[str, Any]:
    return dict(json.loads((whole_run / "metrics.json").read_text()))


def test_every_file_is_there(whole_run: Path) -> None:
    expected = {
        "config.yaml",
        "metrics.json",
        "receipts.jsonl",
        "encoder.safetensors",
        "encoder.md",
        "encoder_timm",
        "report.html",
    }
    assert expected <= {path.name for path in whole_run.iterdir()}
    assert not [path for path in whole_run.rglob("*") if path.name.endswith(".part")]


def test_metrics_have_what_the_documentation_promises(metrics: dict[str, Any]) -> None:
    assert metrics["schema_version"] == 1
    assert set(metrics["arms"]) == BASE | POOLED | {"local_best", "local_mean", "centralized"}
    for arm in metrics["arms"].values():
        assert set(arm["held_out_loss"]) == {"overall", "breast", "liver"}
        assert set(arm["tasks"]) == {"lesion", "organ"}
        for probes in arm["tasks"].values():
            assert set(probes) == {"linear", "knn"}
            assert all({"mean", "low", "high"} <= set(probe) for probe in probes.values())
    assert set(metrics["gap_closed"]) == {"value", "low", "high", "reason"}
    assert metrics["rounds"] == 3
    assert metrics["complete"] is True


def test_no_number_is_nan_or_infinite(whole_run: Path) -> None:
    def refuse(word: str) -> float:
        raise AssertionError(word)

    json.loads((whole_run / "metrics.json").read_text(), parse_constant=refuse)
    for line in (whole_run / "receipts.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)


def test_the_overall_loss_is_the_mix_of_the_organs(metrics: dict[str, Any]) -> None:
    mix = metrics["mix"]
    assert sum(mix.values()) == pytest.approx(1, abs=1e-12)
    for arm in metrics["arms"].values():
        loss = arm["held_out_loss"]
        assert loss["overall"] == pytest.approx(mix["breast"] * loss["breast"] + mix["liver"] * loss["liver"])


def test_the_local_arms_are_summarized(metrics: dict[str, Any]) -> None:
    arms = metrics["arms"]
    local = [arms[f"local:{site}"] for site in ("east", "north", "west")]
    for key, value in arms["local_mean"]["held_out_loss"].items():
        assert value == pytest.approx(sum(arm["held_out_loss"][key] for arm in local) / 3)
    best = arms["local_best"]["role"].removeprefix("chosen on validation patients: ")
    assert arms["local_best"]["held_out_loss"] == arms[f"local:{best}"]["held_out_loss"]


def test_the_best_hospital_and_the_reference_are_chosen_on_validation_patients(
    whole_run: Path, metrics: dict[str, Any]
) -> None:
    def validation(arm: str) -> float:
        found = load_result(whole_run / "arms" / "seed-0" / arm)
        assert found is not None
        losses = found[1].validation.values()
        return sum(  # organ-balanced
            share * float(np.mean([loss for at, loss in losses if at == organ]))
            for organ, share in metrics["mix"].items()
        )

    best = min(("local:east", "local:north", "local:west"), key=validation)
    assert metrics["arms"]["local_best"]["role"].endswith(best.removeprefix("local:"))
    assert metrics["reference"] == min(sorted(POOLED, reverse=True), key=validation)
    assert metrics["arms"]["centralized"]["held_out_loss"] == metrics["arms"][metrics["reference"]]["held_out_loss"]


def test_every_arm_saw_the_images_that_the_comparison_allows(metrics: dict[str, Any]) -> None:
    rounds, steps, batch, hospitals = 3, 2, 4, 3
    images = {name: arm["images"] for name, arm in metrics["arms"].items()}
    assert images["random_init"] == 0
    assert images["local:east"] == rounds * steps * batch
    for name in ("fedavg", "federated", "centralized_wide", "centralized_long"):
        assert images[name] == hospitals * rounds * steps * batch


def test_the_gap_is_the_ratio_of_the_documented_losses(metrics: dict[str, Any]) -> None:
    loss = {name: arm["held_out_loss"]["overall"] for name, arm in metrics["arms"].items()}
    for key, arm in (("gap_closed", "federated"), ("gap_closed_fedavg", "fedavg")):
        below = loss["local_mean"] - loss["centralized"]
        if below > 0:
            assert metrics[key]["value"] == pytest.approx((loss["local_mean"] - loss[arm]) / below)
        else:
            assert metrics[key]["value"] is None
            assert metrics[key]["reason"]


def test_bytes_are_models_times_messages(whole_run: Path, metrics: dict[str, Any]) -> None:
    found = load_result(whole_run / "arms" / "seed-0" / "federated")
    assert found is not None
    model = sum(value.nbytes for value in found[0].model.values())
    assert metrics["bytes"] == {"up": 3 * 3 * model, "down": 3 * 3 * model}


def test_the_final_hash_is_that_of_the_model_and_of_the_last_receipt(whole_run: Path, metrics: dict[str, Any]) -> None:
    found = load_result(whole_run / "arms" / "seed-0" / "federated")
    assert found is not None
    receipts = [json.loads(line) for line in (whole_run / "receipts.jsonl").read_text().splitlines()]
    assert metrics["final_hash"] == digest_of(found[0].model) == receipts[-1]["model_hash"]
    assert [receipt["round"] for receipt in receipts] == [0, 1, 2]
    assert {receipt["plan"] for receipt in receipts} == {metrics["plan"]}


def test_receipts_are_chained_and_those_of_the_server(whole_run: Path) -> None:
    lines = (whole_run / "receipts.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["previous"] == ""
    for earlier, later in pairwise(lines):
        assert json.loads(later)["previous"] == hashlib.sha256(earlier.encode()).hexdigest()
    store = Store(whole_run / "arms" / "seed-0" / "federated" / "server")
    assert store.receipts_path.read_text().splitlines() == lines


def test_receipts_hold_no_clock(whole_run: Path) -> None:
    """A repeated round must give the same bytes."""
    assert "seconds" not in (whole_run / "receipts.jsonl").read_text()


def test_the_released_encoder_loads_into_the_encoder_of_its_own_document(whole_run: Path) -> None:
    tensors, document = load_tensors(whole_run / "encoder.safetensors", schema=1)
    assert document["sha256"] == digest_of(tensors)
    encoder = build_encoder(EncoderConfig(**document["encoder"]), seed=0)
    assert set(encoder.state_dict()) == set(tensors)
    found = load_result(whole_run / "arms" / "seed-0" / "federated")
    assert found is not None
    for name, value in tensors.items():
        assert np.array_equal(found[0].model[f"encoder.{name}"], value)


def test_the_encoder_for_timm_is_the_released_one(whole_run: Path) -> None:
    ours = load_encoder(whole_run / "encoder.safetensors")
    _, document = load_tensors(whole_run / "encoder_timm" / "model.safetensors", schema=1)
    _, released = load_tensors(whole_run / "encoder.safetensors", schema=1)
    assert document["released_as"] == released["sha256"]
    assert document["normalization"] == ours.normalization == "per_image"
    theirs = timm.create_model(f"local-dir:{whole_run / 'encoder_timm'}", pretrained=True).eval()
    images = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), ours.encoder.features(images), rtol=1e-5, atol=1e-5)


def test_time_is_summed_over_the_arms_that_were_trained(metrics: dict[str, Any]) -> None:
    trained = [metrics["arms"][name]["seconds"] for name in BASE | POOLED]
    assert metrics["timing"]["seconds"] == pytest.approx(sum(trained))
    federated = metrics["arms"]["federated"]
    assert metrics["timing"]["images_per_second"] == pytest.approx(federated["images"] / federated["seconds"])


def test_the_report_is_one_page_that_loads_nothing(whole_run: Path, metrics: dict[str, Any]) -> None:
    page = (whole_run / "report.html").read_text()
    assert metrics["final_hash"] in page
    assert "data:image/" in page or "<svg" in page
    for word in ('src="http', "src='http", 'href="http', "<script src", "@import"):
        assert word not in page


def test_the_limits_name_what_a_reader_would_stumble_on(metrics: dict[str, Any]) -> None:
    text = " ".join(metrics["limits"])
    assert "One training seed" in text
    assert "Fewer than ten held-out patients: breast (" in text
    assert "phantom" not in text


def test_licences_count_the_training_images(whole_run: Path, metrics: dict[str, Any]) -> None:
    rows = [
        line
        for site in ("east", "north", "west")
        for line in (whole_run / "sites" / site / "manifest.csv").read_text().splitlines()[1:]
    ]
    assert metrics["licences"] == {"not stated": len(rows)}


def test_a_run_without_the_other_arms_says_why_there_is_no_gap(simulator: Make, tmp_path: Path) -> None:
    assert simulator("name=r").exit_code == 0
    metrics = json.loads((tmp_path / "runs" / "r" / "metrics.json").read_text())
    assert set(metrics["arms"]) == {"federated"}
    assert metrics["reference"] is None
    assert metrics["gap_closed"]["value"] is None
    assert metrics["gap_closed"]["reason"]


def test_a_run_that_a_hospital_sat_out_is_not_complete(simulator: Make, tmp_path: Path) -> None:
    assert simulator("name=r", "skip.west=[0]").exit_code == 0
    metrics = json.loads((tmp_path / "runs" / "r" / "metrics.json").read_text())
    assert metrics["complete"] is False
    assert metrics["arms"]["federated"]["images"] == 8 * 2 * 4  # site-rounds, steps, batch
    assert math.isfinite(metrics["arms"]["federated"]["held_out_loss"]["overall"])


def test_no_patient_is_named_in_the_metrics(whole_run: Path, metrics: dict[str, Any]) -> None:
    loaded = load_result(whole_run / "arms" / "seed-0" / "federated")
    assert loaded is not None
    patients = set(loaded[1].tasks["organ"]["linear"]["by_patient"])
    assert patients
    text = json.dumps(metrics)
    assert not [patient for patient in patients if patient in text]
