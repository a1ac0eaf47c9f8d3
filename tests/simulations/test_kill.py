"""Real signals to a real process: SIGKILL anywhere and a resumed run are as good as no kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from simulations.config import ARMS

ROOT = Path(__file__).parents[2]
Make = Callable[..., Any]
ALL = f"arms=[{','.join(ARMS)}]"


def start(config_file: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "simulations/run.py", "--config", str(config_file), *arguments]
    # A test runner that was started in the background would hand down that Ctrl-C is ignored.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heed
    )


def kill_when_there(process: subprocess.Popen[str], path: Path) -> None:
    """SIGKILL as soon as a file is there and holds something."""
    end = time.monotonic() + 120
    while not (path.exists() and path.stat().st_size) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL, process.communicate()[0]


def resumed_after_kill(config_file: Path, *arguments: str, watched: Path, folder: Path) -> None:
    with start(config_file, *arguments) as process:
        kill_when_there(process, watched)
    assert not (folder / "metrics.json").exists()
    with start(config_file, *arguments, "--resume") as process:
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output


def test_a_real_kill_of_the_process_in_a_round(
    comparable: Make, simulator: Make, config_file: Path, tmp_path: Path
) -> None:
    arguments = ("name=r", "federation.rounds=12", "training.batch=16")
    elsewhere = tmp_path / "elsewhere"
    assert simulator(*arguments, f"runs={elsewhere}").exit_code == 0
    folder = tmp_path / "runs" / "r"
    watched = folder / "arms" / "seed-0" / "federated" / "server" / "receipts.jsonl"
    resumed_after_kill(config_file, *arguments, watched=watched, folder=folder)
    assert comparable(folder) == comparable(elsewhere / "r")
    assert (folder / "receipts.jsonl").read_bytes() == (elsewhere / "r" / "receipts.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "watched",
    [
        "config.yaml",
        "sites/east/manifest.csv",
        "arms/seed-0/local:north/snapshot.safetensors",
        "arms/seed-0/fedavg/sites/north/moments.pending.safetensors",
        "arms/seed-0/federated/sites/west/moments.committed.safetensors",
        "arms/seed-0/centralized_wide/snapshot.safetensors",
        "arms/seed-0/centralized_long/snapshot.safetensors",
        "arms/seed-0/centralized_long/arm.safetensors",
    ],
)
def test_a_real_kill_of_the_process_anywhere(
    comparable: Make, watched: str, simulator: Make, config_file: Path, tmp_path: Path
) -> None:
    arguments = (ALL, "name=r", "federation.rounds=6", "training.batch=16")
    elsewhere = tmp_path / "elsewhere"
    assert simulator(*arguments, f"runs={elsewhere}").exit_code == 0
    folder = tmp_path / "runs" / "r"
    resumed_after_kill(config_file, *arguments, watched=folder / watched, folder=folder)
    assert comparable(folder) == comparable(elsewhere / "r")


@pytest.mark.slow
def test_an_interrupt_from_the_keyboard_tells_how_to_go_on(config_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "r"
    with start(config_file, "name=r", "federation.rounds=500") as process:
        end = time.monotonic() + 120
        while (
            not (folder / "arms" / "seed-0" / "federated" / "server" / "receipts.jsonl").exists()
            and time.monotonic() < end
        ):
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command with --resume goes on" in output
    assert "Traceback" not in output
