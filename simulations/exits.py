"""How every command of the simulator ends: our errors as one line and their exit code, Ctrl-C as a shell has it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from core.errors import UsfmError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it."""


@contextmanager
def told_errors() -> Iterator[None]:
    """Turn what goes wrong inside into a line on standard error and an exit code."""
    try:
        yield
    except UsfmError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        sys.stderr.write("interrupted; the same command with --resume goes on\n")
        raise typer.Exit(INTERRUPTED) from error
