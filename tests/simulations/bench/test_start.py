"""The row on the command line's start."""

from collections.abc import Callable

from simulations.bench import start
from simulations.bench.rows import Row, Settings


def test_the_row_is_measured(tiny: Settings, check: Callable[[Row, str], None]) -> None:
    check(start.command_line(tiny), "start")
