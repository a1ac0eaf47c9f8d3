"""What a run leaves: metrics that follow from the arms, tables of them, a model that opens."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from core.training.fitted import load_fitted
from server.state import Store
from simulations.federated_finetune.arms import TaskBench
from simulations.federated_finetune.outputs import complete, markdown, terminal_table, verdict

ARMS = ["local:east", "local:north", "federated", "centralized_wide", "centralized_long"]


@pytest.fixture
def metrics(tuned_run: Path) -> dict[str, Any]:
    return dict(json.loads((tuned_run / "metrics.json").read_text()))


def test_the_numbers_follow_from_the_patients(metrics: dict[str, Any]) -> None:
    arms = metrics["arms"]
    assert sorted(arms) == sorted([*ARMS, "local_mean"])
    for name in ARMS:
        by_seed = [own["by_patient"] for own in arms[name]["by_seed"].values()]
        assert arms[name]["dice"]["value"] == pytest.approx(np.mean([list(own.values()) for own in by_seed]))
        assert arms[name]["dice"]["low"] <= arms[name]["dice"]["value"] <= arms[name]["dice"]["high"]
    alone = [arms["local:east"]["dice"]["value"], arms["local:north"]["dice"]["value"]]
    assert arms["local_mean"]["dice"]["value"] == pytest.approx(sum(alone) / 2)
    federated = arms["federated"]["dice"]["value"]
    compared = metrics["comparisons"]
    assert compared["federated_minus_local_mean"]["value"] == pytest.approx(federated - sum(alone) / 2)
    pooled = arms[metrics["reference"]]["dice"]["value"]
    assert compared["federated_minus_centralized"]["value"] == pytest.approx(federated - pooled)


def test_the_reference_is_the_pooled_arm_with_the_better_validation_score(metrics: dict[str, Any]) -> None:
    means = {
        name: np.mean([own["validation"] for own in metrics["arms"][name]["by_seed"].values()])
        for name in ("centralized_wide", "centralized_long")
    }
    assert means[metrics["reference"]] == max(means.values())


def test_hospitals_with_and_without_labels_are_told(metrics: dict[str, Any]) -> None:
    # 6 and 3 labelled training patients; the third hospital has 4 training patients.
    assert metrics["hospitals"] == {
        "east": {"patients": 6, "labelled": 6, "weight": 6 / 9, "sat_out": ""},
        "north": {"patients": 3, "labelled": 3, "weight": 3 / 9, "sat_out": ""},
        "west": {"patients": 4, "labelled": 0, "weight": None, "sat_out": "holds no label of task lesion"},
    }
    assert metrics["test"] == {"patients": 3, "images": 3, "empty_images": 0, "validation_patients": 3}
    assert metrics["complete"] is True
    assert any("whom the researcher holds" in limit for limit in metrics["limits"])


def test_receipts_and_hash_are_those_of_the_first_seed(metrics: dict[str, Any], tuned_run: Path) -> None:
    store = Store(tuned_run / "arms" / "seed-0" / "federated" / "server")
    assert (tuned_run / "receipts.jsonl").read_bytes() == store.receipts_path.read_bytes()
    state = store.load(plan_digest=metrics["plan"])
    assert state is not None
    assert metrics["final_hash"] == state.digest


def test_the_model_opens_with_the_federations_threshold(metrics: dict[str, Any], tuned_run: Path) -> None:
    fitted = load_fitted(tuned_run / "model.safetensors")
    assert fitted.task.name == "lesion"
    assert fitted.threshold == metrics["arms"]["federated"]["by_seed"]["0"]["threshold"]
    assert fitted.start == metrics["start"]["digest"]
    assert fitted.steps == 3 * 2


def test_the_tables_name_every_arm_and_who_sat_out(metrics: dict[str, Any], tuned_run: Path) -> None:
    page = "\n".join(markdown(metrics)) + "\n"
    assert page == (tuned_run / "table.md").read_text()
    for words in ("federated (ours)", "east alone", "pooled, wide batch", "| west | 4 | 0 | sits out: holds no label"):
        assert words in page
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal_table(metrics))
    shown = console.export_text()
    assert "north alone" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_last_lines_say_how_it_ended(metrics: dict[str, Any], tuned_run: Path) -> None:
    lines = list(verdict(metrics, folder=tuned_run))
    assert "west sat out: it holds no label of task lesion" in lines
    assert f"final hash {metrics['final_hash']}" in lines
    assert "finished; every hospital with labels contributed to every round" in lines
    lame = list(verdict({**metrics, "complete": False}, folder=tuned_run))
    assert any("NOT every hospital with labels" in line for line in lame)


def test_a_round_without_a_hospital_is_told_whichever_seed_it_was_of(
    bench: Callable[..., TaskBench], tuned_run: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tuned_run, copy)
    own = bench("copied", "seeds=[0,1]")
    assert complete(replace(own, folder=copy))
    path = copy / "arms" / "seed-1" / "federated" / "server" / "receipts.jsonl"
    first, *_ = path.read_text().splitlines()
    line = json.loads(first)
    del line["contributors"]["north"]
    path.write_text(json.dumps(line) + "\n")
    assert not complete(replace(own, folder=copy))


def test_every_field_of_the_metrics_is_documented_and_no_other(
    metrics: dict[str, Any], undocumented: Callable[..., set]
) -> None:
    placeholders = {
        "hospitals": "<hospital>", "arms": "<arm>", "arms.<arm>.by_seed": "<seed>",
        "arms.<arm>.by_seed.<seed>.by_patient": "<patient>", "comparisons": "<comparison>",
    }  # fmt: skip
    assert not undocumented(metrics, "metrics.json of a federated fine-tuning", placeholders)
