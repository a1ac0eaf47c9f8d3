"""The table of the arms in the terminal."""

import io
from typing import Any

from rich.console import Console

from core.evaluation.table import terminal_table


def _printed(metrics: dict[str, Any], width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(terminal_table(metrics))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_each_arm_is_a_row_with_its_losses_and_scores(metrics: dict[str, Any]) -> None:
    row = next(line for line in _printed(metrics) if line.strip().startswith("federated (ours)"))
    assert row.split()[2:] == ["0.600", "0.700", "0.600", "0.60", "0.60"]  # overall, fetal head, liver, linear, k-NN


def test_the_interval_stands_under_its_score(metrics: dict[str, Any]) -> None:
    lines = _printed(metrics)
    at = next(i for i, line in enumerate(lines) if line.strip().startswith("federated (ours)"))
    assert lines[at + 1].split() == ["0.50-0.65", "0.50-0.65"]


def test_a_score_that_is_missing_is_a_dash(metrics: dict[str, Any]) -> None:
    row = next(line for line in _printed(metrics) if line.strip().startswith("FedAvg"))
    assert row.split()[-2:] == ["–", "–"]


def test_the_main_arms_come_first_and_in_order(metrics: dict[str, Any]) -> None:
    text = "\n".join(_printed(metrics))
    order = ["random weights", "one hospital, mean", "one hospital, best", "FedAvg", "federated (ours)",
             "pooled (reference)", "pooled, wide batch", "north alone"]  # fmt: skip
    places = [text.index(label) for label in order]
    assert places == sorted(places)


def test_brackets_in_a_name_are_shown_and_no_markup(metrics: dict[str, Any]) -> None:
    metrics["arms"]["local:[red]x[/]"] = metrics["arms"]["local:north"]
    assert any("[red]x[/] alone" in line for line in _printed(metrics))
