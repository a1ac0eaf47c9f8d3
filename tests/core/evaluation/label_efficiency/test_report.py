"""The page: whole, alone, safe."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.evaluation.label_efficiency.analysis import Analysis
from core.evaluation.label_efficiency.predictions import RULE
from core.evaluation.label_efficiency.report import StudyReport, report_html, write_report


@pytest.fixture(scope="module")
def source(report: StudyReport) -> str:
    """The page of a study with all that it can hold."""
    return report_html(report)


def test_every_section_is_there_and_every_tag_closed(page_of: Any, source: str) -> None:
    page = page_of(source)
    assert page.open == []
    headings = re.findall(r"<h2>(.*?)</h2>", source)
    assert headings == ["Goals", "Scores over labelled patients", "Gains over random weights", "Gain kept",
                        "Labels that are saved", "Example predictions", "Cost", "Not measured", "Limits",
                        "Repeat it"]  # fmt: skip
    for said in ("Federation kept", "over test patients and 2 draws of labelled patients", RULE, "31 min",
                 "p, Holm", "head, 8 patients: none is of class malignant (every arm)."):  # fmt: skip
        assert said in page.text


def test_the_page_fetches_nothing_and_names_stay_text(page_of: Any, source: str) -> None:
    page = page_of(source)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href"):
                assert re.match(r"data:(text/csv|application/gzip|image/png);base64,|#", value or ""), (tag, value)
    assert "<script" not in source
    assert "<b>" not in source
    assert "secret" not in source  # no test patient is named


def test_every_picture_has_words_and_every_figure_its_data(page_of: Any, source: str) -> None:
    page = page_of(source)
    count = [tag for tag, _ in page.tags].count
    assert count("figure") == count("figcaption") == count("a") == 4
    assert count("img") == 2 * (1 + 5) + (1 + 5) + (2 + 5)  # two masks, a class, a restored image; five arms
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg")


def test_the_page_and_the_data_are_written(report: StudyReport, source: str, tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", report)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == source
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["further-tasks.csv", "gain-kept.csv", "gains.csv", "label-efficiency.csv"]


def test_a_study_that_was_not_run_is_still_a_page(page_of: Any, study: Callable[..., Analysis]) -> None:
    page = page_of(report_html(StudyReport(analysis=study([]), name="bare")))
    assert page.open == []
    assert "Not shown: how much" in page.text
    assert "Unfinished: 36 of 36 cells were not run" in page.text
    assert not [tag for tag, _ in page.tags if tag == "figure"]


def test_the_pooled_arm_is_said_to_be_what_the_study_takes(report: StudyReport) -> None:
    page = report_html(report)
    assert "as many steps as all hospitals take together" in page
    assert "the stronger of the two ways below" not in page


def test_the_rule_of_the_examples_names_no_budget_that_a_task_may_lack() -> None:
    assert "32" not in RULE
    assert "every budget" not in RULE
