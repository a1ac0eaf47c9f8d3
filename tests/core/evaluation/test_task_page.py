"""The page about a fine-tuned model: whole, alone, safe, and open about what weakens the result."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.evaluation.overlay import data_address
from core.evaluation.task_page import TaskExample, TaskReport, render, write_task_page

HOSTILE = '<script>alert("x")</script> & <b>bold</b>'


@pytest.fixture
def result() -> dict[str, Any]:
    """What a fine-tuning of segmentation wrote."""
    return {
        "task": {"name": HOSTILE, "kind": "segmentation", "classes": []},
        "score": {
            "primary": "dice",
            "metrics": {
                "dice": {"value": 0.8, "low": 0.7, "high": 0.9, "reason": "", "patients": 6},
                "hd95_mm": {"value": None, "low": None, "high": None, "reason": "no spacing", "patients": 0},
            },
        },
        "warnings": ["6 test patients: the result is uncertain.", HOSTILE],
        "curve": [{"step": 2, "loss": 1.2, "validation": 0.3}, {"step": 4, "loss": 0.9, "validation": 0.5}],
        "model": {"steps": 4, "best_step": 4, "images": 16, "weights_sha256": "ab" * 32},
        "weights": {"path": HOSTILE, "sha256": "cd" * 32, "layout": "release", "licence": "CC0"},
        "data": {"splits": {"train": {"patients": 12, "images": 16}, "test": {"patients": 6, "images": 8}}},
        "timing": {"seconds": 90.0},
    }


@pytest.fixture
def report(result: dict[str, Any]) -> TaskReport:
    """That result with one example."""
    picture = data_address(np.zeros((8, 8), np.uint8))
    example = TaskExample(
        title="Best: patient 3 of 6", note="Dice 0.91.", pictures=[("image", picture), (HOSTILE, picture)]
    )
    return TaskReport(result=result, examples=[example], legend="Blue is drawn by hand.")


def test_every_section_is_there_and_every_tag_closed(page_of: Any, report: TaskReport) -> None:
    page = page_of(render(report))
    assert page.open == []
    for words in ("Dice 0.80 on 6 patients", "95% interval 0.70 to 0.90", "Read this first", "6 test patients",
                  "Every metric", "HD95 in mm: no spacing.", "Examples", "Best: patient 3 of 6", "How training went",
                  "90 s", "Who took part", "What it was made from", "cd" * 32, "no medical device"):  # fmt: skip
        assert words in page.text


def test_the_page_fetches_and_runs_nothing(page_of: Any, report: TaskReport) -> None:
    source = render(report)
    page = page_of(source)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert (value or "").startswith(("data:", "#"))
    assert not re.search(r"url\((?!#)|@import", source)


def test_names_are_text_and_never_markup(report: TaskReport) -> None:
    source = render(report)
    assert "<script" not in source
    assert "<b>bold" not in source


def test_every_picture_has_words_for_it_and_the_curve_its_data(page_of: Any, report: TaskReport) -> None:
    page = page_of(render(report))
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    labels = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert labels == ["Training loss from 1.200 to 0.900 over 4 steps, validation score from 0.300 to 0.500."]
    assert [attributes["download"] for tag, attributes in page.tags if tag == "a"] == ["curves.csv"]


def test_a_run_without_validation_shows_the_loss_alone(report: TaskReport) -> None:
    curve = [{"step": 2, "loss": 1.0, "validation": None}]
    source = render(replace(report, result={**report.result, "curve": curve}))
    assert "Training loss from 1.000 to 1.000 over 2 steps." in source


def test_classes_have_their_patients(report: TaskReport, result: dict[str, Any]) -> None:
    classes = {"benign": {"patients": 7, "images": 9}, "cyst": {"patients": 0, "images": 0}}
    result["task"]["classes"] = ["benign", "cyst"]
    result["data"]["splits"]["train"]["classes"] = classes
    page = render(replace(report, result=result))
    assert "<th scope=col>patients with cyst</th>" in page
    assert "<td>7</td><td>0</td>" in page


def test_a_page_with_nothing_is_still_a_page(page_of: Any) -> None:
    page = page_of(render(TaskReport(result={}, examples=[])))
    assert page.open == []
    assert "There is no result" in page.text
    assert "nan" not in page.text


def test_the_file_is_written_whole_over_an_older_one(report: TaskReport, tmp_path: Path) -> None:
    path = tmp_path / "result.html"
    path.write_text("older")
    write_task_page(path, report)
    assert path.read_text(encoding="utf-8") == render(report)
