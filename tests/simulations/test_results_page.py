"""The command that writes a run's results as Markdown."""

from collections.abc import Callable
from pathlib import Path

import typer
from typer.testing import CliRunner

from simulations.results_page import command

Saved = Callable[..., Path]


def _run(*arguments: object) -> tuple[int, str, str]:
    application = typer.Typer(add_completion=False)
    application.command()(command)
    result = CliRunner().invoke(application, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_page_is_printed_or_written_and_is_the_same(saved: Saved, tmp_path: Path) -> None:
    run, path = saved("a", "federation.rounds=3"), tmp_path / "a.md"
    code, printed, _ = _run(run)
    assert code == 0
    assert _run(run, "--output", path) == (0, "", "")
    assert path.read_text() == printed
    assert "**Federation closed 67% (95% interval 50% to 80% over patients, one training seed)" in printed
    assert "--config configs/simulation/demo.yaml name=a federation.rounds=3\n" in printed
    assert "federation.rounds=3 --resume\n" in printed


def test_a_run_that_trained_has_its_hash_and_its_torch_on_the_page(whole_run: Path) -> None:
    code, printed, _ = _run(whole_run)
    assert code == 0
    for said in ("| final hash |", "| torch |", "## Repeat it", "## Limits", "PATH/manifest.csv"):
        assert said in printed
    assert str(whole_run.parent) not in printed


def test_goals_of_ones_own_are_judged(saved: Saved, tmp_path: Path) -> None:
    goals = tmp_path / "goals.yaml"
    goals.write_text("- {goal: Most of the gap, field: gap_closed.value, at_least: 0.9}\n")
    _, printed, _ = _run(saved("a"), "--goals", goals)
    assert "| Most of the gap | missed | 0.667 | at least 0.9 |" in printed


def test_errors_have_their_exit_codes(saved: Saved, tmp_path: Path) -> None:
    run = saved("a")
    assert _run(tmp_path / "nowhere")[0] == 2
    assert _run(run, "--goals", tmp_path / "nowhere")[0] == 2
    assert _run(run, "--config", tmp_path / "nowhere")[0] == 2
    (run / "metrics.json").write_text("{}")
    code, _, error = _run(run)
    assert code == 8
    assert error.startswith("error: ")
