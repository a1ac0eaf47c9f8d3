"""How every command ends: our errors as a line on standard error and their exit code, Ctrl-C as a shell has it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from core.errors import UsfmError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it."""
GO_ON = "the same command with --resume goes on"


@contextmanager
def told_errors(*, interrupted: str = GO_ON) -> Iterator[None]:
    """Turn what goes wrong inside into a line on standard error and an exit code.

    Args:
        interrupted: What a person can do after Ctrl-C.
    """
    try:
        yield
    except UsfmError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        sys.stderr.write(f"interrupted; {interrupted}\n")
        raise typer.Exit(INTERRUPTED) from error
