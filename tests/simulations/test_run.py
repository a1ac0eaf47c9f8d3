"""The command: one line starts everything, and what it prints tells how it ended."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console

from core.errors import ConfigError
from simulations.experiment import simulate

Make = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("heavy", ["torch", "flwr", "numpy"])
def test_the_command_line_starts_without_what_takes_seconds_to_load(heavy: str) -> None:
    script = f"import sys, simulations.run; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0


def test_a_run_prints_case_mix_arms_hash_and_where_the_report_lies(simulator: Make, tmp_path: Path) -> None:
    result = simulator("name=r")
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "runs" / "r" / "metrics.json").read_text())
    for part in ("training patients", "held-out loss", f"final hash {metrics['final_hash']}", "report.html"):
        assert part in result.stdout
    assert "finished; every hospital contributed to every round" in result.stdout
    assert result.stderr == ""
    assert "\x1b" not in result.stdout


def test_a_run_with_a_missing_hospital_does_not_say_plain_success(simulator: Make) -> None:
    result = simulator("skip.west=[1]")
    assert result.exit_code == 0
    assert "finished, but NOT every hospital contributed to every round:" in result.stdout
    assert "west: rounds 1: the site sits this round out" in result.stdout


def test_two_runs_of_one_configuration_agree_in_every_file_without_a_clock(simulator: Make, tmp_path: Path) -> None:
    for runs in ("one", "two"):
        assert simulator("name=r", f"runs={tmp_path / runs}").exit_code == 0
    exported = ("encoder_timm/config.json", "encoder_timm/model.safetensors")
    for name in ("receipts.jsonl", "encoder.safetensors", "encoder.md", "inputs.json", *exported):
        assert (tmp_path / "one/r" / name).read_bytes() == (tmp_path / "two/r" / name).read_bytes()


def test_the_resolved_configuration_repeats_the_run(simulator: Make, tmp_path: Path) -> None:
    assert simulator("name=r", "federation.rounds=2").exit_code == 0
    saved = tmp_path / "runs" / "r" / "config.yaml"
    assert simulator(f"runs={tmp_path / 'again'}", config=saved).exit_code == 0
    for name in ("receipts.jsonl", "encoder.safetensors"):
        assert (tmp_path / "again/r" / name).read_bytes() == (saved.parent / name).read_bytes()


def test_quick_shortens_the_run_and_an_override_wins(simulator: Make, tmp_path: Path) -> None:
    assert simulator("--quick", "name=r", "federation.local_steps=3").exit_code == 0
    saved = yaml.safe_load((tmp_path / "runs" / "r" / "config.yaml").read_text())
    assert saved["federation"]["rounds"] == 2
    assert saved["federation"]["local_steps"] == 3


def test_the_run_sets_the_threads_that_its_plan_states(simulator: Make, tmp_path: Path) -> None:
    assert simulator("name=r", "threads=2", "federation.rounds=1").exit_code == 0
    plan = json.loads((tmp_path / "runs/r/arms/seed-0/federated/server/plan.json").read_text())
    assert plan["environment"] == {"torch": torch.__version__, "threads": 2}


def test_only_the_arms_that_were_asked_for_are_trained(whole_run: Path, simulator: Make, tmp_path: Path) -> None:
    assert simulator("name=r", "arms=[local,federated]", "federation.rounds=1").exit_code == 0
    arms = {path.name for path in (tmp_path / "runs/r/arms/seed-0").iterdir()}
    assert arms == {"local:east", "local:north", "local:west", "federated"}
    assert {path.name for path in (whole_run / "arms" / "seed-0").iterdir()} == {
        *arms, "random_init", "fedavg", "centralized_wide", "centralized_long",
    }  # fmt: skip


@pytest.mark.parametrize("override", ["partition.kind=dirichlet", "federation.codec=bf16", "objective.tokens=all"])
def test_variants_run_to_the_end(override: str, simulator: Make, tmp_path: Path) -> None:
    assert simulator(override, "partition.hospitals=3", "partition.alpha=100", "name=r").exit_code == 0
    assert (tmp_path / "runs" / "r" / "report.html").exists()


def test_training_lowers_the_held_out_loss(simulator: Make, tmp_path: Path) -> None:
    arguments = ("arms=[random_init,federated]", "federation.rounds=10", "federation.local_steps=10", "name=r")
    assert simulator(*arguments, "training.batch=8").exit_code == 0
    arms = json.loads((tmp_path / "runs/r/metrics.json").read_text())["arms"]
    assert arms["federated"]["held_out_loss"]["overall"] < 0.9 * arms["random_init"]["held_out_loss"]["overall"]


DIVERGING = ("training.optimizer=sgd", "training.learning_rate=9.9", "training.clip_norm=1e30", "federation.rounds=6")


def test_a_loss_that_is_not_finite_stops_an_arm_with_step_and_last_good_state(simulator: Make, tmp_path: Path) -> None:
    result = simulator("name=r", "arms=[local,federated]", *DIVERGING)
    assert result.exit_code == 5
    snapshot = tmp_path / "runs/r/arms/seed-0/local:east/snapshot.safetensors"
    assert f"east alone; resume from {snapshot}: the loss is" in result.stderr
    assert "the last good state is that of step 4" in result.stderr
    assert snapshot.exists()


def test_a_loss_that_is_not_finite_at_the_hospitals_pauses_the_federation(simulator: Make) -> None:
    result = simulator("name=r", *DIVERGING)
    assert result.exit_code == 7
    for site in ("east", "north", "west"):
        assert f"{site}: the client failed: TrainingError: site {site}, round 2: the loss is" in result.stderr


def test_reinstate_needs_a_run_and_a_hospital_of_it(simulator: Make, config_file: Path) -> None:
    assert simulator("--reinstate", "north").exit_code == 2
    assert simulator("name=r", "federation.rounds=1").exit_code == 0
    with pytest.raises(ConfigError, match="--reinstate nroth: the hospitals are east, north, west"):
        simulate(
            path=config_file,
            overrides=["name=r", "federation.rounds=1"],
            resume=True,
            overwrite=False,
            console=Console(quiet=True),
            reinstate=("nroth",),
        )


def test_a_file_with_a_study_runs_it_and_an_unknown_study_is_refused(simulator: Make, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("study: label_efficiency\ndraws: 0\n")
    refused = simulator(config=path)
    assert refused.exit_code == 2
    assert "draws must lie in [2, 1000], got 0" in refused.stderr
    assert "--reinstate is for a federation" in simulator("--reinstate", "north", config=path).stderr
    path.write_text("study: labels\n")
    assert "study must be one of federated_finetune, label_efficiency, or left out" in simulator(config=path).stderr
