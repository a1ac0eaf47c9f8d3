"""The run's folder: nobody's work is overwritten, and a run goes on only as what it was."""

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFIGURATION, DATA, PAUSED, CHECKPOINT, EXISTS = 2, 3, 7, 8, 9
"""Exit codes."""
Make = Callable[..., Any]


PAUSING = ("name=r", "skip.north=[0]", "federation.min_sites=3")
"""A run that stops in its first round: a folder to go on with, made quickly."""


@pytest.mark.parametrize("name", ["007", "2026-01-31"])
def test_a_name_is_taken_as_it_was_typed(name: str, simulator: Make, tmp_path: Path) -> None:
    assert simulator(*PAUSING, f"name={name}").exit_code == PAUSED
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [name]


def test_a_run_folder_that_exists_is_not_touched(simulator: Make, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    for option in ([], ["--overwrite"]):
        result = simulator("name=mine", *option)
        assert result.exit_code == EXISTS
        assert "choose another name" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_a_finished_run_is_not_run_again_unless_asked(simulator: Make, tmp_path: Path) -> None:
    assert simulator("name=r").exit_code == 0
    before = (tmp_path / "runs" / "r" / "metrics.json").read_bytes()
    again = simulator("name=r")
    assert again.exit_code == EXISTS
    assert "--resume" in again.stderr
    assert (tmp_path / "runs" / "r" / "metrics.json").read_bytes() == before
    (tmp_path / "runs" / "r" / "stale").mkdir()
    assert simulator("name=r", "--overwrite", "federation.rounds=1").exit_code == 0
    assert not (tmp_path / "runs" / "r" / "stale").exists()
    assert '"rounds": 1' in (tmp_path / "runs" / "r" / "metrics.json").read_text()


def test_bad_data_do_not_cost_the_old_run(simulator: Make, tmp_path: Path) -> None:
    assert simulator(*PAUSING).exit_code == PAUSED
    assert simulator("name=r", "--overwrite", "partition.floor=7").exit_code == DATA
    assert (tmp_path / "runs" / "r" / "config.yaml").exists()


def test_what_a_kill_at_the_start_leaves_is_no_run(simulator: Make, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    assert simulator(*PAUSING).exit_code == PAUSED


def test_resume_without_a_run(refused: Make) -> None:
    assert "there is no run to resume" in refused(CONFIGURATION, "--resume", "name=r")


def test_resume_and_overwrite_at_once(simulator: Make, tmp_path: Path) -> None:
    assert simulator(*PAUSING).exit_code == PAUSED
    result = simulator(*PAUSING, "--resume", "--overwrite")
    assert result.exit_code == CONFIGURATION
    assert "give one of them" in result.stderr
    assert (tmp_path / "runs" / "r" / "config.yaml").exists()


def test_resume_with_another_configuration(simulator: Make, tmp_path: Path) -> None:
    assert simulator(*PAUSING).exit_code == PAUSED
    result = simulator(*PAUSING, "--resume", "federation.rounds=4")
    assert result.exit_code == CHECKPOINT
    assert "differs from this configuration" in result.stderr
    assert "saved: rounds: 3" in result.stderr
    assert "now:   rounds: 4" in result.stderr


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_a_run_that_another_process_writes_is_left_alone(option: str, simulator: Make, tmp_path: Path) -> None:
    assert simulator(*PAUSING).exit_code == PAUSED
    folder = tmp_path / "runs" / "r"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = simulator(*PAUSING, option)
    assert result.exit_code == EXISTS
    assert "in use by another process" in result.stderr
    assert (folder / "config.yaml").exists()


def test_a_pause_says_why_and_has_its_exit_code(simulator: Make, tmp_path: Path) -> None:
    told = []
    for option in ([], ["--resume"]):
        result = simulator("name=r", "skip.north=[1]", "federation.min_sites=3", *option)
        assert result.exit_code == PAUSED
        assert "round 1 has 2 of at least 3 updates and stays open" in result.stderr
        assert "north: the site sits this round out" in result.stderr
        told.append(result.stderr)
    assert told[0] == told[1]
    receipts = tmp_path / "runs" / "r" / "arms" / "seed-0" / "federated" / "server" / "receipts.jsonl"
    assert len(receipts.read_text().splitlines()) == 1


def test_a_hospital_whose_disk_fails_pauses_the_run_until_it_is_mended(simulator: Make, tmp_path: Path) -> None:
    """The fault is real: where the hospital keeps its optimizer state stands a folder."""
    assert simulator("name=r", "federation.min_sites=3", f"runs={tmp_path / 'whole'}").exit_code == 0
    assert simulator("name=r", "federation.min_sites=3", "federation.rounds=3").exit_code == 0
    arm = tmp_path / "runs" / "r" / "arms" / "seed-0" / "federated"
    for path in (arm / "arm.safetensors", arm / "server" / "state.safetensors", arm / "server" / "receipts.jsonl"):
        path.unlink()
    obstacle = arm / "sites" / "north" / "moments.pending.safetensors"
    obstacle.unlink()
    obstacle.mkdir()
    result = simulator("name=r", "federation.min_sites=3", "--resume")
    assert result.exit_code == PAUSED
    assert "north: the client failed: CheckpointError" in result.stderr
    obstacle.rmdir()
    assert simulator("name=r", "federation.min_sites=3", "--resume").exit_code == 0
    whole, mended = (tmp_path / name / "r" / "receipts.jsonl" for name in ("whole", "runs"))
    assert whole.read_bytes() == mended.read_bytes()
