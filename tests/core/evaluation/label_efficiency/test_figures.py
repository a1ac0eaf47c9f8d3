"""The study's figures and the numbers behind them."""

import csv
import io
from collections.abc import Callable

import pytest

from core.evaluation.drawing import Drawing
from core.evaluation.label_efficiency import figures
from core.evaluation.label_efficiency.analysis import Analysis
from core.evaluation.label_efficiency.cells import Cell


def _data(drawing: Drawing | None) -> list[dict[str, str]]:
    assert drawing is not None
    return list(csv.DictReader(io.StringIO(drawing.csv())))


def test_curves_carry_every_score_and_draw_of_tasks_with_several_budgets(whole: Analysis) -> None:
    rows = _data(figures.curves(whole))
    assert {row["task"] for row in rows} == {"mass", "head"}
    assert len(rows) == 2 * 3 * 5 * (1 + 2)  # tasks, budgets, arms; the mean and two draws
    every = next(row for row in rows if (row["budget"], row["arm"], row["draw"]) == ("all", "federated", "all"))
    assert every["patients"] == "50"
    assert float(every["low"]) <= float(every["value"]) <= float(every["high"])


def test_a_task_with_one_budget_has_a_figure_of_its_own(whole: Analysis) -> None:
    assert {row["task"] for row in _data(figures.single(whole))} == {"lung"}


def test_gains_and_shares_carry_their_numbers(whole: Analysis) -> None:
    rows = _data(figures.gains(whole))
    assert len(rows) == len(whole.gains)
    kept = {row["task"]: row for row in _data(figures.kept(whole))}
    assert float(kept["overall"]["value"]) == pytest.approx(whole.gain_kept["overall"].value)
    assert kept["lung"]["value"] == ""
    assert kept["lung"]["reason"]


def test_nothing_to_show_is_no_figure(
    study: Callable[..., Analysis], cells: Callable[..., list[Cell]], cell: Callable[..., Cell]
) -> None:
    for draw in (figures.curves, figures.single, figures.gains, figures.kept):
        assert draw(study([])) is None
    undefined = study([cell("mass", "federated", 8, draw, None) for draw in range(2)])
    assert figures.curves(undefined) is None
    loss = study(cells({"random_init": 0.5, "federated": 0.4, "centralized": 0.4}))
    assert figures.kept(loss) is None
    assert figures.gains(loss) is not None
