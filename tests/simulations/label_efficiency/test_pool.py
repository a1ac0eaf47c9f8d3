"""Cells in processes of their own: the same bits, stopped and killed."""

import json
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
from rich.console import Console

from core.errors import TimeIsUp
from simulations.label_efficiency.study import run_study

Run = Callable[..., Path]
ROOT = Path(__file__).parents[3]


def metrics(folder: Path) -> dict[str, Any]:
    """The study's `metrics.json`."""
    return dict(json.loads((folder / "metrics.json").read_text()))


def files(folder: Path, pattern: str) -> dict[str, tuple[bytes, int]]:
    """File to its content and time stamp."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob(pattern)
    }


def test_a_study_whose_time_is_up_goes_on_and_ends_as_if_never_stopped(run: Run, tmp_path: Path) -> None:
    given = ("arms=[random_init,federated]", "budgets=[2]")
    with pytest.raises(TimeIsUp, match="--resume goes on"):
        run(*given, minutes=0)
    folder = run(*given, resume=True)
    whole = run(*given, "name=whole")
    for one in (metrics(folder), metrics(whole)):
        assert one["gains"] == metrics(whole)["gains"]
        assert [cell["by_patient"] for cell in one["cells"]] == [cell["by_patient"] for cell in metrics(whole)["cells"]]


def test_processes_give_the_bits_of_one_after_the_other(run: Run) -> None:
    given = ("arms=[random_init,federated]", "budgets=[2]")
    one, two = run(*given), run(*given, "processes=2", "name=two")
    assert metrics(one)["gains"] == metrics(two)["gains"]
    assert [cell["by_patient"] for cell in metrics(one)["cells"]] == [
        cell["by_patient"] for cell in metrics(two)["cells"]
    ]


def test_a_killed_study_goes_on_without_touching_its_finished_cells(study_file: Path, pretrained: Path) -> None:
    arguments = [f"pretraining.run={pretrained}", "name=k", "arms=[random_init,federated]"]
    command = [sys.executable, "simulations/run.py", "--config", str(study_file), *arguments]
    folder = study_file.parent / "runs" / "k"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=heed
    ) as process:
        end = time.monotonic() + 120
        while len(list(folder.glob("cells/*/*/*/*.json"))) < 2 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    before = files(folder, "cells/**/*.json")
    assert len(before) >= 2
    assert not (folder / "metrics.json").exists()
    run_study(path=study_file, overrides=arguments, resume=True, console=Console(quiet=True))
    after = files(folder, "cells/**/*.json")
    assert {name: after[name] for name in before} == before
    assert len(metrics(folder)["cells"]) == 8
