"""The rows on reading images."""

from collections.abc import Callable

from simulations.bench import reading
from simulations.bench.rows import Row, Settings


def test_both_rows_are_measured(tiny: Settings, check: Callable[[Row, str], None]) -> None:
    check(reading.clinical(tiny), "cache-clinical")
    check(reading.small_files(tiny), "cache-small")
