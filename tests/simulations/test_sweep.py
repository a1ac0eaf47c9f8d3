"""A sweep runs what differs, keeps what has ended, and compares."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer import Typer
from typer.testing import CliRunner

from core.errors import ConfigError
from simulations.config import SimulationConfig
from simulations.sweep import command, read_sweep

ROOT = Path(__file__).resolve().parents[2]
SWEEPS = sorted((ROOT / "configs/sweeps").glob("*.yaml"))
TIME_IS_UP, CONFIGURATION = 10, 2
Make = Callable[..., Any]


@pytest.fixture
def sweep(config_file: Path, tmp_path: Path) -> Callable[..., Result]:
    """(argument, ...) -> a sweep over two values of tau on the tiny federation."""
    file = tmp_path / "tau.yaml"
    runs = {"even": ["federation.tau=0"], "natural": ["federation.tau=1"]}
    content = {"title": "Tau", "question": "What?", "base": config_file.name, "common": ["federation.rounds=1"]}
    file.write_text(yaml.safe_dump({**content, "runs": runs}))
    application = Typer()
    application.command()(command)
    return lambda *arguments: CliRunner().invoke(application, [str(file), *arguments])


def test_both_runs_end_in_one_table_and_one_page(sweep: Make, tmp_path: Path) -> None:
    assert sweep().exit_code == 0
    table = (tmp_path / "runs/tau.md").read_text()
    assert table.startswith("# Tau\n\nWhat?\n")
    assert "tau-even" in table
    assert "federation.tau=1" in table
    assert "federation.rounds=1" not in table  # common to both
    assert (tmp_path / "runs/tau.html").exists()


def test_what_has_ended_is_not_run_again(sweep: Make, tmp_path: Path) -> None:
    assert sweep("--only", "even").exit_code == 0
    document = tmp_path / "runs/tau-even/metrics.json"
    before = document.stat().st_mtime_ns
    assert sweep("--resume").exit_code == 0
    assert document.stat().st_mtime_ns == before
    assert (tmp_path / "runs/tau-natural/metrics.json").exists()


def test_its_time_can_be_up_between_two_runs(sweep: Make, tmp_path: Path) -> None:
    result = sweep("--minutes", "0")
    assert result.exit_code == TIME_IS_UP
    assert not (tmp_path / "runs/tau.md").exists()
    assert sweep("--resume").exit_code == 0


def test_an_unknown_name_and_an_unknown_key_are_told_before_anything_runs(sweep: Make, tmp_path: Path) -> None:
    assert "the sweep has even, natural" in sweep("--only", "odd").stderr
    result = sweep("federation.tua=1")
    assert result.exit_code == CONFIGURATION
    assert "did you mean" in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "text",
    ["", "[1, 2]", "title: x", "{title: x, question: y, base: z, runs: {}}", "title: [", "\x00",
     "{title: x, question: y, base: z, runs: {a: tau=1}}", "{title: x, question: y, base: z, runs: {a: [tau]}}"],
)  # fmt: skip
def test_a_file_that_is_no_sweep_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        read_sweep(file)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_of_the_repository_makes_valid_runs(path: Path) -> None:
    from core import config as configuration

    sweep = read_sweep(path)
    for own in sweep.runs.values():
        configuration.load(SimulationConfig, path=sweep.base, overrides=[*sweep.common, *own])
