"""The page of a run's results."""

import re
from typing import Any

from core.evaluation.goals import Goal
from core.evaluation.results_page import results_page

GOAL = Goal(text="The gap closes", field="gap_closed.low", rule="above", bound=0.5)


def _page(metrics: dict[str, Any]) -> str:
    return results_page(metrics, commands=["run it", "run it --resume"], goals=[GOAL], versions={"torch": "9.9"})


def test_a_whole_run_has_every_section_in_order_and_the_claim_on_top(grown: dict[str, Any]) -> None:
    page = _page(grown)
    assert page.splitlines()[2].startswith("**Federation closed 75% (95% interval 60% to 90% over patients and 2 train")
    sections = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert sections == ["Goals", "Held-out loss by organ", "Gap closed and gain kept", "Differences",
                        "By training seed", "Segmentation", "Classification", "Cost", "Limits", "Repeat it",
                        "Record"]  # fmt: skip
    for line in ("| The gap closes | met | 0.600 | above 0.5 |", "run it --resume", "| torch | 9.9 |",
                 "| training seeds | 0, 1 |", f"| final hash | {'ab' * 32} |", "* One seed."):  # fmt: skip
        assert line in page.splitlines()


def test_an_older_run_leaves_out_what_it_lacks(metrics: dict[str, Any]) -> None:
    page = _page(metrics)
    for section in ("Differences", "By training seed", "Segmentation"):
        assert f"## {section}" not in page
    assert "## Classification" in page


def test_names_of_hospitals_stay_text(metrics: dict[str, Any]) -> None:
    page = _page(metrics)
    assert r"\<script\>" in page
    assert not re.search(r"(?<!\\)<", page)


def test_a_run_with_one_arm_and_nothing_else_is_still_a_page() -> None:
    bare = {"name": "bare", "arms": {"federated": {}}}
    page = results_page(bare, commands=[], goals=[GOAL], versions={})
    assert "**Not shown: how much" in page
    assert "| The gap closes | not measured | – | above 0.5 |" in page
    assert "## Repeat it" not in page
