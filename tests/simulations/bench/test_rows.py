"""The arithmetic of a row, and that both sides are measured in turn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import ConfigError
from simulations.bench.rows import Row, Settings, in_child, in_turn, peak_growth

ROW = Row(name="r", baseline_name="theirs", ours_name="ours", goal=4.0)


def test_a_ratio_above_one_means_that_ours_takes_less() -> None:
    row = replace(ROW, baseline=30.0, ours=10.0)
    assert row.ratio == pytest.approx(30 / 10)
    assert row.met is False
    assert replace(row, ours=7.5).met is True


def test_a_row_that_was_not_measured_has_no_ratio_and_no_verdict() -> None:
    document = replace(ROW, skipped="no ray").document()
    assert (document["ratio"], document["met"], document["skipped"]) == (None, None, "no ray")
    assert {"name", "ours", "baseline", "ratio", "unit", "goal", "baseline_name", "sizes", "threads"} <= set(document)


def test_seconds_for_one_item_are_told_as_items_a_second_too() -> None:
    row = replace(ROW, unit="s/image", items="images", baseline=0.5, ours=0.25)
    assert row.rates == pytest.approx((1 / 0.5, 1 / 0.25))
    assert (row.document()["baseline_rate"], row.document()["ours_rate"]) == row.rates
    assert replace(row, items="").rates == (None, None)
    assert replace(row, baseline=None, ours=None).rates == (None, None)


def test_sides_take_turns_and_each_runs_three_times_at_least_after_a_warm_up() -> None:
    calls: list[str] = []
    row = in_turn(ROW, baseline=lambda: calls.append("b"), ours=lambda: calls.append("o"), seconds=1e-9)
    assert calls == ["b", "o"] * 4
    assert row.baseline is not None
    assert row.baseline >= 0


def allocate(megabytes: int) -> float:
    return peak_growth(lambda: np.ones(megabytes * 125_000, np.float64).sum())


def test_peak_memory_counts_arrays_that_are_gone_again() -> None:
    assert 60 <= in_child(allocate, 64) < 80


def fail(_: int) -> None:
    raise ConfigError("too small")


def test_an_error_of_a_child_comes_out_as_it_was() -> None:
    with pytest.raises(ConfigError, match="too small"):
        in_child(fail, 1)


@pytest.mark.parametrize("change", [{"seconds": 0.0}, {"threads": 0}])
def test_settings_out_of_range_are_named(tmp_path: Path, change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"--{next(iter(change))}"):
        Settings(folder=tmp_path, **change)
