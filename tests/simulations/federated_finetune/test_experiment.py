"""The command: a study by its key, resumed after kills, refused with a reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from core.errors import ConfigError, RunExists, TimeIsUp
from core.federation.tensors import digest_of
from core.files import load_tensors
from simulations.federated_finetune.experiment import simulate

Make = Callable[..., Any]


def run(path: Path, *overrides: str, **options: Any) -> Path:
    plain = {"resume": False, "overwrite": False, "console": Console(quiet=True)}
    return simulate(path=path, overrides=list(overrides), **{**plain, **options})


def comparable(folder: Path) -> dict[str, Any]:
    """The metrics without the clock."""
    metrics = json.loads((folder / "metrics.json").read_text())
    for arm in metrics["arms"].values():
        arm.pop("seconds", None)
    return dict(metrics)


class Killed(BaseException):
    """What a kill looks like from inside: nobody catches it."""


class KillingConsole(Console):
    """Kills when a line that begins so is to be printed."""

    def __init__(self, beginning: str) -> None:
        super().__init__(quiet=True)
        self._beginning = beginning

    def print(self, *objects: Any, **options: Any) -> None:
        if str(objects[0]).startswith(self._beginning):
            raise Killed


def test_a_run_killed_at_the_end_of_several_arms_ends_as_the_run_that_was_not(
    config_file: Path, tuned_run: Path
) -> None:
    for number, line in enumerate(("north alone, seed 0", "federated, seed 0", "centralized_wide, seed 1")):
        with pytest.raises(Killed):
            run(config_file, resume=number > 0, console=KillingConsole(line))
    folder = run(config_file, resume=True)
    assert comparable(folder) == comparable(tuned_run)
    for name in ("receipts.jsonl", "table.md"):
        assert (folder / name).read_bytes() == (tuned_run / name).read_bytes()


def test_the_command_runs_the_study_that_the_file_names(simulator: Make, config_file: Path, tuned_run: Path) -> None:
    result = simulator("seeds=[0]", "federation.rounds=1", config=config_file)
    assert result.exit_code == 0, result.output
    assert "west sat out: it holds no label of task lesion" in result.output
    assert (config_file.parent / "runs" / "tuned" / "table.md").exists()


def test_every_arm_starts_from_the_encoder_that_was_given(config_file: Path, whole_run: Path) -> None:
    folder = run(config_file, f"start.run={whole_run}", "seeds=[0]", "task.tuning.encoder=frozen")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["start"]["source"] == "run whole, arm federated, seed 0"
    given = {f"encoder.{n}": v for n, v in load_tensors(folder / "start.safetensors", schema=1)[0].items()}
    for name in ("federated", "local:east", "centralized_long"):
        model = load_tensors(folder / "arms" / "seed-0" / name / "arm.safetensors", schema=1)[0]
        assert digest_of({n: v for n, v in model.items() if n in given}) == digest_of(given)


def test_a_run_that_is_there_is_left_alone_and_strangers_are_named(config_file: Path) -> None:
    with pytest.raises(TimeIsUp):
        run(config_file, minutes=0.0)
    with pytest.raises(RunExists):
        run(config_file)
    with pytest.raises(ConfigError, match="--reinstate south: hospitals: east, north, west"):
        run(config_file, resume=True, reinstate=("south",))
