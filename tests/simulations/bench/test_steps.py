"""The rows on the step measure the product's step, the fast one the same objective."""

from collections.abc import Callable
from dataclasses import asdict

import pytest

from simulations.bench import steps
from simulations.bench.rows import Row, Settings

Check = Callable[[Row, str], None]


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("step-same-objective", steps.same_objective),
        ("step-visible", steps.visible_only),
        ("step-peak", steps.against_peak),
    ],
)
def test_each_row_is_measured(tiny: Settings, check: Check, name: str, measure: Callable[[Settings], Row]) -> None:
    check(measure(tiny), name)


def test_the_fast_setting_differs_in_how_it_computes_only() -> None:
    eager, fast = asdict(steps.EAGER), asdict(steps.FAST)
    assert {key for key in eager if eager[key] != fast[key]} <= {"precision", "compile"}
