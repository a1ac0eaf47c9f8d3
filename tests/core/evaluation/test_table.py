"""The tables of the arms in the terminal."""

import io
from typing import Any

import pytest
from rich.console import Console

from core.evaluation.report_tables import probes_of
from core.evaluation.table import terminal_table

SEVEN = ("breast", "carotid", "fetal_head", "gallbladder", "kidney", "liver", "thyroid")


def _printed(metrics: dict[str, Any], width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(terminal_table(metrics))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def _rows(metrics: dict[str, Any], label: str) -> list[list[str]]:
    """The cells of one arm in each of the tables, top to bottom."""
    lines = [line for line in _printed(metrics) if line.startswith(label)]
    return [line.removeprefix(label).split() for line in lines]


def _widened(metrics: dict[str, Any], *, organs: tuple[str, ...], tasks: tuple[str, ...]) -> dict[str, Any]:
    """The same arms with other organs and tasks: every loss 0.600, every score 0.60."""
    score = {"mean": 0.6, "low": 0.5, "high": 0.65, "reason": ""}
    for arm in metrics["arms"].values():
        arm["held_out_loss"] = dict.fromkeys(("overall", *organs), 0.6)
        arm["tasks"] = {task: {"linear": score, "knn": score} for task in tasks}
    return metrics


def test_an_arm_has_its_losses_in_one_table_and_its_scores_with_intervals_in_the_other(metrics: dict[str, Any]) -> None:
    losses, scores = _rows(metrics, "federated (ours)")
    assert losses == ["0.600", "0.700", "0.600"]  # all, fetal head, liver
    assert scores == ["0.60", "0.50-0.65", "0.60", "0.50-0.65"]  # linear, k-NN


def test_a_score_that_is_missing_is_a_dash(metrics: dict[str, Any]) -> None:
    assert _rows(metrics, "FedAvg")[1] == ["–", "–"]


def test_a_score_without_an_interval_stands_alone(metrics: dict[str, Any]) -> None:
    metrics["arms"]["local_mean"]["tasks"]["liver_lesion"]["linear"] = {"mean": 0.3, "low": None, "high": None}
    assert _rows(metrics, "one hospital, mean")[1] == ["0.30", "0.30", "0.20-0.35"]  # linear, then k-NN


def test_the_main_arms_come_first_and_in_order(metrics: dict[str, Any]) -> None:
    text = "\n".join(_printed(metrics))
    order = ["random weights", "one hospital, mean", "one hospital, best", "FedAvg", "federated (ours)",
             "pooled (reference)", "pooled, wide batch", "each hospital alone:", "\nnorth "]  # fmt: skip
    places = [text.index(label) for label in order]
    assert places == sorted(places)


def test_brackets_in_a_name_are_shown_and_no_markup(metrics: dict[str, Any]) -> None:
    metrics["arms"]["local:[red]x[/]"] = metrics["arms"]["local:north"]
    assert any(line.startswith("[red]x[/] ") for line in _printed(metrics))


def test_seven_organs_and_two_tasks_fit_eighty_columns_uncut(metrics: dict[str, Any]) -> None:
    metrics = _widened(metrics, organs=SEVEN, tasks=("breast_lesion", "organ"))
    metrics["arms"]["local:vascular_laboratory"] = metrics["arms"]["local:north"]
    lines = _printed(metrics)
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    for label in ("federated (ours)", "vascular_laboratory"):
        losses, scores = _rows(metrics, label)
        assert losses == ["0.600"] * 8  # all and seven organs
        assert scores == ["0.60", "0.50-0.65"] * 4  # two tasks, two probes each


def test_a_terminal_wider_than_eighty_columns_shows_the_same(metrics: dict[str, Any]) -> None:
    assert _printed(metrics, width=200) == _printed(metrics, width=80)


@pytest.mark.parametrize(("organs", "tables"), [(7, 1), (8, 2), (14, 2), (15, 3)])
def test_more_than_seven_organs_take_more_tables(metrics: dict[str, Any], organs: int, tables: int) -> None:
    many = tuple(f"organ_{number:02d}" for number in range(organs))
    rows = _rows(_widened(metrics, organs=many, tasks=()), "federated (ours)")
    assert len(rows) == tables
    assert sum(len(row) - 1 for row in rows) == organs  # each table repeats the column of all organs


def test_a_long_word_of_an_organ_is_shortened_with_a_point(metrics: dict[str, Any]) -> None:
    lines = _printed(_widened(metrics, organs=SEVEN, tasks=()))
    head = next(line.split() for line in lines if line.startswith("arm "))
    assert head == ["arm", "all", "breast", "carot.", "head", "gallb.", "kidney", "liver", "thyro."]


def test_a_hospital_with_a_long_name_loses_no_letter(metrics: dict[str, Any]) -> None:
    name = "a-hospital-whose-name-is-far-longer-than-twenty-letters"
    metrics["arms"][f"local:{name}"] = metrics["arms"]["local:north"]
    assert name in "".join(line.split()[0] for line in _printed(metrics) if line.strip())


def test_segmentation_scores_come_last_and_by_the_number_of_labelled_patients(metrics: dict[str, Any]) -> None:
    for arm in metrics["arms"].values():
        probes = ("finetune_32", "frozen", "finetune_8")
        arm["tasks"] = {"head": {name: {"mean": 0.6, "low": 0.5, "high": 0.65, "reason": ""} for name in probes}}
    assert probes_of(metrics) == [("head", "frozen"), ("head", "finetune_8"), ("head", "finetune_32")]
    lines = " ".join(" ".join(_printed(metrics)).split())
    assert "fine-tuned, 8 fine-tuned, 32 arm frozen, linear map patients patients" in lines
    assert _rows(metrics, "federated (ours)")[1] == ["0.60", "0.50-0.65"] * 3
