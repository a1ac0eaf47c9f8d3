"""The page: whole, alone, safe, and no louder than its numbers."""

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.evaluation.report import ReportData, draw, render, write_report


def test_every_tag_is_closed_and_every_section_is_there(page_of: Any, report: ReportData) -> None:
    page = page_of(render(report))
    assert page.open == []
    for heading in ("The gap closed", "Held-out loss by organ", "The arms", "Scores on tasks", "Limits",
                    "Who holds what", "How the loss fell", "What the model restores",
                    "Spectra and stopped rings", "Cost", "Rounds", "Data licences and configuration"):  # fmt: skip
        assert heading in page.text


def test_the_page_fetches_nothing_and_runs_nothing(page_of: Any, report: ReportData) -> None:
    page = page_of(render(report))
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href"):
                carried = "data:text/csv;base64," if tag == "a" else "data:image/png;base64,"
                assert (value or "").startswith((carried, "#")), (tag, value)
    assert not re.search(r"url\((?!#)|@import", render(report))


def test_names_of_hospitals_are_text_and_never_markup(report: ReportData) -> None:
    source = render(report)
    assert "<script" not in source
    assert "&lt;script&gt;alert(&quot;h&quot;)&lt;/script&gt; &amp; $\\frac{ [red]x[/] 医院" in source
    assert "<b>here</b>" not in source


def test_every_figure_has_a_caption_and_every_picture_words_for_it(page_of: Any, report: ReportData) -> None:
    page = page_of(render(report))
    count = [tag for tag, _ in page.tags].count
    assert count("figure") == count("figcaption") == count("a") == 8
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg")


def test_ids_of_the_figures_are_unique_and_their_references_resolve(page_of: Any, report: ReportData) -> None:
    page = page_of(render(report))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = re.findall(r"""(?:href="#|url\(#)([^")]+)""", render(report))
    assert used
    assert set(used) <= set(ids)


def test_the_same_data_give_the_same_page(report: ReportData) -> None:
    assert render(report) == render(report)


def test_the_main_arms_stand_open_and_the_rest_under_a_fold(report: ReportData) -> None:
    source = render(report)
    top, fold = source.split("more arms")[0], source.split("more arms")[1]
    assert "federated (ours)" in top
    assert "pooled, wide batch" not in top
    assert "pooled, wide batch" in fold
    assert "north alone" in fold
    assert "Not shown, liver lesion, linear: no test image of class 1 (FedAvg)." in top


def test_a_round_that_lost_a_hospital_says_who_why_and_what_it_did_to_the_mix(page_of: Any, report: ReportData) -> None:
    text = page_of(render(report)).text
    assert "1 of 2 rounds had every hospital." in text
    assert "norm 41.2 exceeds 1.0" in text
    assert "fetal head -30.0" in text  # 0.1 - 0.4; liver +30.0 is as large and later by name
    assert "cdcdcdcdcdcd" in text


def test_many_rounds_are_folded_but_the_failed_ones_stay_in_sight(report: ReportData) -> None:
    many = replace(report, receipts=[dict(report.receipts[0], round=i) for i in range(1, 40)] + [report.receipts[1]])
    before, after = render(many).split("All 40 rounds")
    assert "norm 41.2" in before
    assert "<td class=text>all 2</td>" not in before
    assert after.count("<td class=text>all 2</td>") == 39


def test_a_page_with_nothing_but_arms_is_still_a_page(page_of: Any, metrics: dict[str, Any]) -> None:
    bare = {"name": "bare", "arms": {"federated": {"held_out_loss": {"overall": float("nan")}}}}
    page = page_of(render(ReportData(metrics=bare, case_mix={}, curves={}, held_out_curve={}, examples=[], receipts=[],
                                  config_text="")))  # fmt: skip
    assert page.open == []
    assert "Not shown: how much" in page.text
    assert "nan" not in page.text
    assert "svg" not in [tag for tag, _ in page.tags]


def test_the_file_is_written_whole_over_an_older_one(report: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("older")
    write_report(path, report)
    assert path.read_text(encoding="utf-8") == render(report)
    assert {file.name for file in tmp_path.iterdir()} == {"report.html", "figures"}


def test_a_failed_write_leaves_the_older_file_and_nothing_else(report: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("older")
    with pytest.raises(AttributeError):
        write_report(path, replace(report, receipts=[{"round": 1, "contributors": {}, "refused": "not a table"}]))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["older"]


def test_every_figure_has_its_data_on_the_page_and_beside_it_and_they_are_equal(
    page_of: Any, report: ReportData, tmp_path: Path
) -> None:
    write_report(tmp_path / "report.html", report)
    page = page_of((tmp_path / "report.html").read_text(encoding="utf-8"))
    carried = {
        attributes["download"]: base64.b64decode((attributes["href"] or "").split(",")[1])
        for tag, attributes in page.tags
        if tag == "a"
    }
    assert carried == {file.name: file.read_bytes() for file in (tmp_path / "figures").iterdir()}
    assert {"gap-closed.csv", "losses-by-organ.csv", "reconstructions.csv"} <= set(carried)


def test_a_run_of_several_seeds_shows_each_of_them(page_of: Any, grown: dict[str, Any], report: ReportData) -> None:
    page = page_of(render(replace(report, metrics=grown)))
    assert page.open == []
    for said in ("over patients and 2 training seeds", "By training seed", "Segmentation", "federated − FedAvg"):
        assert said in page.text
    assert page.text.index("On liver, the rarest organ,") < page.text.index("The gap closed")


def test_held_out_curves_of_the_metrics_are_drawn_but_not_those_of_derived_arms(report: ReportData) -> None:
    arms = dict(report.metrics["arms"])
    arms["federated"] = {**arms["federated"], "held_out_curve": [[10, 0.9], [20, 0.8]]}
    arms["centralized"] = {**arms["centralized"], "role": "copy", "held_out_curve": [[10, 0.7]]}
    drawing = draw(replace(report, held_out_curve={}, metrics={**report.metrics, "arms": arms}))["curves"]
    assert drawing is not None
    held_out = [line for line in drawing.csv().splitlines() if "held-out" in line]
    assert held_out == ["federated,held-out patients,10,0.9", "federated,held-out patients,20,0.8"]
