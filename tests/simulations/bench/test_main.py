"""The command: which rows, what is printed, what is written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from simulations.bench import __main__ as bench
from simulations.bench.rows import Row

GOALS = {
    "step-same-objective": 1.4,
    "step-visible": 4,
    "step-peak": 0.6,
    "band-stop": 6,
    "cache-clinical": 100,
    "cache-small": 5,
    "fold": 4,
    "wire": 2,
    "wire-memory": 1,
    "simulator": 2,
    "transport": 8,
    "start": 4,
    "tune-linear": 0.8,
    "tune-attentive": 0.8,
    "tune-light": 0.8,
    "tune-upernet": 0.25,
    "tune-segvit": 0.5,
    "tune-restore": 0.5,
    "tune-evaluation": 1,
}


def run(*arguments: str) -> Result:
    application = typer.Typer()
    application.command()(bench.main)
    return CliRunner().invoke(application, list(arguments))


def test_every_goal_has_a_row() -> None:
    assert list(bench.MEASURES) == list(GOALS)


def test_chosen_rows_are_written_as_json_with_their_goals(tmp_path: Path) -> None:
    target = tmp_path / "bench.json"
    result = run("fold", "band-stop", "--small", "--seconds", "0.001", "--json", str(target))
    assert result.exit_code == 0, result.output
    rows = json.loads(target.read_text())
    assert [(row["name"], row["goal"]) for row in rows] == [(name, GOALS[name]) for name in ("fold", "band-stop")]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["baseline"] / row["ours"])
        assert row["met"] == (row["ratio"] >= row["goal"])


def test_an_unknown_name_is_an_error_that_lists_the_rows() -> None:
    result = run("fold", "speed")
    assert result.exit_code == 2
    words = " ".join(result.output.replace("│", " ").split())
    assert "no row is called speed; the rows are" in words
    assert all(name in words for name in GOALS)


def test_the_table_says_what_reaches_its_goal_and_why_a_row_is_missing() -> None:
    row = Row(name="r", baseline_name="theirs", ours_name="ours", goal=4.0, baseline=3.0, ours=1.0, sizes="2 sites")
    rows = [row, replace(row, goal=2.0), replace(row, baseline=None, ours=None, skipped="no ray")]
    rows.append(replace(row, baseline=0.25, ours=0.125, unit="s/image", items="images"))
    console = Console(width=bench.WIDTH)
    with console.capture() as captured:
        console.print(bench.table_of(rows))
    text = captured.get()
    for words in ("4: not met", "2: met", "not measured: no ray", "theirs: 3 s", "ours: 1 s", "2 sites; 1 thread",
                  "theirs: 0.25 s/image, 4 images/s", "ours: 0.125 s/image, 8 images/s"):  # fmt: skip
        assert words in text
