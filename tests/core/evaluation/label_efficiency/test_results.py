"""The page of Markdown and the tables of the terminal."""

import io
import re
from collections.abc import Callable

from rich.console import Console

from core.evaluation.label_efficiency.analysis import Analysis
from core.evaluation.label_efficiency.results import results_page, terminal_tables


def _shown(analysis: Analysis) -> str:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(terminal_tables(analysis))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_page_has_every_section_and_the_commands(whole: Analysis) -> None:
    page = results_page(whole, name="trial", commands=["run it"], versions={"torch": "9.9"}, facts=[("wall", "61 min")])
    sections = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert sections == ["Goals", "Scores over labelled patients", "Gains over random weights", "Gain kept",
                        "Labels that are saved", "Cost", "Not measured", "Limits", "Repeat it", "Record"]  # fmt: skip
    assert page.splitlines()[2].startswith("**Federation kept ")
    for line in ("run it", "| torch | 9.9 |", "| wall | 61 min |", "| bootstrap | 400 draws, seed 0 |"):
        assert line in page.splitlines()


def test_names_stay_text(whole: Analysis) -> None:
    page = results_page(whole, name="<i>", commands=[], versions={})
    assert r"\<script\>" in page
    assert not re.search(r"(?<!\\)<", page)
    assert "[red]x[/]" in _shown(whole).replace("\n", "")


def test_the_terminal_shows_scores_shares_goals_and_the_claim(whole: Analysis) -> None:
    shown = _shown(whole)
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    for said in ("mass, Dice (all: 50 patients)", "lung, balanced accuracy", "gain kept", "all core tasks", "goals",
                 "Federation kept", "8 patients"):  # fmt: skip
        assert said in shown


def test_a_study_that_was_not_run_is_still_a_page(study: Callable[..., Analysis]) -> None:
    page = results_page(study([]), name="bare", commands=[], versions={})
    assert "**Not shown: how much" in page
    assert "## Repeat it" not in page
    assert "Unfinished: 36 of 36" in _shown(study([])).replace("\n", " ")
