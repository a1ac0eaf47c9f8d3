"""The benchmark's arithmetic; what it measures is never asserted, since machines differ."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from simulations import bench


def test_a_ratio_above_one_always_means_that_the_candidate_is_better() -> None:
    faster = bench.Row(what="w", unit="images/s", baseline_name="a", baseline=10.0, candidate_name="b", candidate=30.0)
    smaller = bench.Row(
        what="w",
        unit="MB",
        baseline_name="a",
        baseline=30.0,
        candidate_name="b",
        candidate=10.0,
        higher_is_better=False,
    )
    assert faster.ratio == pytest.approx(30 / 10)
    assert smaller.ratio == pytest.approx(30 / 10)


def test_peak_memory_counts_arrays_that_are_gone_again() -> None:
    megabytes = bench.peak_megabytes(lambda: np.zeros(1_000_000, np.float64).sum())
    assert 8.0 <= megabytes < 9.0


def test_every_row_is_written_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    application = typer.Typer()
    application.command()(bench.main)
    monkeypatch.setattr(bench, "PARAMETERS", 1000)
    target = tmp_path / "bench.json"
    result = CliRunner().invoke(application, ["--seconds", "0.01", "--threads", "1", "--json", str(target)])
    assert result.exit_code == 0, result.output
    rows = json.loads(target.read_text())
    assert {row["what"] for row in rows} == {"pretraining step", "reading", "aggregating 16 replies"}
    assert all(row["ratio"] > 0 for row in rows)
