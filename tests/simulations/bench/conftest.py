"""Rows at sizes that take a moment."""

from collections.abc import Callable
from pathlib import Path

import pytest

from simulations.bench.rows import Row, Settings


@pytest.fixture
def tiny(tmp_path: Path) -> Settings:
    """Tiny sizes, three repeats."""
    return Settings(folder=tmp_path, seconds=1e-3, small=True)


@pytest.fixture
def check() -> Callable[[Row, str], None]:
    """(row, name) -> the row was measured and says on what; how fast is never asserted, since machines differ."""

    def measured(row: Row, name: str) -> None:
        assert row.name == name
        assert row.ratio is not None
        assert row.ratio > 0
        assert row.sizes
        assert row.baseline_name != row.ours_name

    return measured
