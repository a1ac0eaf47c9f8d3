"""A command ends with a line and a code, never with a traceback."""

import pytest
import typer

from core.errors import DataError, RunExists
from core.exits import INTERRUPTED, told_errors


@pytest.mark.parametrize(("error", "code"), [(DataError("row 3"), 3), (RunExists("r is there"), 9)])
def test_an_error_of_ours_is_a_line_and_its_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught, told_errors():
        raise error
    assert caught.value.exit_code == code
    assert capsys.readouterr().err == f"error: {error}\n"


def test_ctrl_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, told_errors():
        raise KeyboardInterrupt
    assert caught.value.exit_code == INTERRUPTED
    assert "--resume goes on" in capsys.readouterr().err


def test_what_is_no_error_of_ours_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), told_errors():
        _ = 1 / 0


def test_a_command_without_resume_says_what_else_helps(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), told_errors(interrupted="give the command again"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "interrupted; give the command again\n"
