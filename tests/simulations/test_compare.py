"""The command that compares runs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from simulations.compare import command

Saved = Callable[..., Path]


def _run(*arguments: object) -> tuple[int, str, str]:
    application = typer.Typer(add_completion=False)
    application.command()(command)
    result = CliRunner().invoke(application, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_page_and_a_table_are_written_and_named(saved: Saved, tmp_path: Path) -> None:
    page, table = tmp_path / "out" / "c.html", tmp_path / "c.md"
    code, printed, _ = _run(saved("a"), saved("b"), "--output", page, "--markdown", table)
    assert (code, printed) == (0, f"{page}\n{table}\n")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert table.read_text().startswith("| run |")


def test_a_real_run_compares_with_itself_under_another_name(whole_run: Path, saved: Saved, tmp_path: Path) -> None:
    code, _, said = _run(whole_run, saved("other"), "--output", tmp_path / "c.html")
    assert (code, said) == (0, "")


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        (lambda folder: (folder / "metrics.json").unlink(), 2, "is not there"),
        (lambda folder: (folder / "metrics.json").write_text("{"), 8, "cannot be read"),
        (lambda folder: (folder / "metrics.json").write_text('{"schema_version": 9}'), 8, "schema version 9"),
        (lambda folder: (folder / "config.yaml").write_text("["), 8, "config.yaml"),
    ],
)
def test_what_is_wrong_with_a_run_is_one_line_and_an_exit_code(
    damage: Callable[[Path], object], code: int, said: str, saved: Saved, tmp_path: Path
) -> None:
    folder, output = saved("a"), tmp_path / "c.html"
    damage(folder)
    found, _, error = _run(saved("b"), folder, "--output", output)
    assert found == code
    assert error.startswith("error: ")
    assert said in error
    assert not output.exists()


def test_two_runs_of_one_name_are_refused(saved: Saved, tmp_path: Path) -> None:
    code, _, error = _run(saved("a"), saved("b", name="a"), "--output", tmp_path / "c.html")
    assert code == 2
    assert "both hold a run called a" in error


def test_a_page_that_cannot_be_written_is_an_error(saved: Saved, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, error = _run(saved("a"), "--output", tmp_path / "file" / "c.html")
    assert code == 8
    assert "cannot be written" in error


def test_without_a_run_the_usage_is_told() -> None:
    code, _, error = _run()
    assert code == 2
    assert "RUNS" in error
