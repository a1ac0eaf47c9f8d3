"""The row on how long a command line takes to say what it can do."""

import os
import subprocess
import sys
from pathlib import Path

from simulations.bench.rows import Row, Settings, Work, in_turn


def command_line(settings: Settings) -> Row:
    """`--help` of ours and of Flower, each in a fresh process."""
    flower = [sys.executable, "-c", "from flwr.cli.app import app; app()", "--help"]
    ours = [sys.executable, "-m", "simulations.run", "--help"]
    row = Row(
        name="start",
        baseline_name="flwr --help",
        ours_name="simulations.run --help",
        goal=4.0,
        sizes="one process",
    )
    baseline, help_of_ours = (_process(command, settings.folder) for command in (flower, ours))
    return in_turn(row, baseline=baseline, ours=help_of_ours, seconds=settings.seconds)


def _process(command: list[str], folder: Path) -> Work:
    root = str(Path(__file__).resolve().parents[2])
    quiet = {"FLWR_HOME": str(folder / "flwr"), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    environment = {**os.environ, **quiet, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    # The commands are two constants of this file.
    return lambda: subprocess.run(command, check=True, capture_output=True, env=environment)  # noqa: S603
