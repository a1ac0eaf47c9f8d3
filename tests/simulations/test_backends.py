"""Where the hospitals work changes no bit of the result."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

ROOT = Path(__file__).parents[2]
WITHOUT_RAY = find_spec("ray") is None
Make = Callable[..., Any]


def test_every_backend_of_this_machine_gives_the_same_metrics(
    comparable: Make, simulator: Callable[..., Result], tmp_path: Path
) -> None:
    for backend in ("in_process", "workers"):
        done = simulator("name=r", f"runs={tmp_path / backend}", f"sim.backend={backend}")
        assert done.exit_code == 0, done.output
    assert comparable(tmp_path / "workers" / "r") == comparable(tmp_path / "in_process" / "r")


@pytest.mark.slow
@pytest.mark.skipif(WITHOUT_RAY, reason="Ray is not installed: pip install '.[ray]'")
def test_ray_gives_the_same_metrics_and_receipts(
    comparable: Make, simulator: Callable[..., Result], config_file: Path, tmp_path: Path
) -> None:
    assert simulator("name=r", f"runs={tmp_path / 'here'}").exit_code == 0
    # In a process of its own: Ray leaves threads and warnings behind.
    command = [sys.executable, "simulations/run.py", "--config", str(config_file), "name=r", "sim.backend=ray"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    ours, expected = tmp_path / "runs" / "r", tmp_path / "here" / "r"
    assert comparable(ours) == comparable(expected)
    assert (ours / "receipts.jsonl").read_bytes() == (expected / "receipts.jsonl").read_bytes()
