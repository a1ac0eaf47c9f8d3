"""What the drawings do with odd data; how they look is for eyes."""

import re

import pytest

from core.evaluation.figures import case_mix, cost, loss_curves, plain, probe_scores


def test_text_and_arms_take_the_colours_of_the_page() -> None:
    svg = loss_curves({"federated": [(0.0, 1.0), (10.0, 0.5)]}, {})
    assert "var(--blue)" in svg
    assert "currentColor" in svg
    assert not re.search("#01020[34]|#0072b2", svg)


def test_a_drawing_scales_to_the_page_and_has_words_for_who_cannot_see_it() -> None:
    svg = case_mix({"north": {"liver": 3}, "south": {"heart": 0}})
    head = svg[: svg.index(">")]
    assert "viewBox" in head
    assert "width=" not in head
    assert 'aria-label="Number of training patients for 2 hospitals and 2 organs."' in head


def test_hospitals_that_trained_alone_share_one_entry_of_the_legend() -> None:
    curve = [(0.0, 1.0), (10.0, 0.5)]
    svg = loss_curves({"local:a": curve, "local:b": curve, "federated": curve}, {})
    assert 'aria-label="Loss against images seen for federated (ours), one hospital alone."' in svg


@pytest.mark.parametrize("curve", [[], [(5.0, 1.0)], [(0.0, float("nan")), (1.0, float("inf"))]])
def test_an_empty_short_or_broken_curve_is_no_error(curve: list[tuple[float, float]]) -> None:
    assert "<svg" in loss_curves({"federated": curve, "fedavg": [(0.0, 1.0), (9.0, 0.5)]}, {"federated": curve})


def test_nothing_to_draw_is_no_drawing() -> None:
    assert loss_curves({}, {}) == loss_curves({"federated": []}, {}) == ""
    assert probe_scores({"federated": {"held_out_loss": {}}}) == ""
    assert cost({"random_init": {"seconds": 0.0, "images": 0}}) == ""


def test_a_score_without_interval_or_without_value_is_no_error() -> None:
    tasks = {"t": {"linear": {"mean": 0.5, "low": None, "high": None}, "knn": {"mean": None, "reason": "none"}}}
    assert "<svg" in probe_scores({"federated": {"tasks": tasks}, "fedavg": {}})


def test_many_hospitals_and_no_patients_are_drawn() -> None:
    assert "<svg" in case_mix({f"h{i}": {"liver": 0, "heart": 0} for i in range(30)})


def test_labels_hold_only_what_the_font_can_draw_and_no_more_than_fits() -> None:
    assert plain("Zürich 医院\n\x1b[31m") == "Zürich ????[31m"
    assert plain("abcdefgh", most=5) == "abcd…"
    assert "<svg" in case_mix({"$\\frac{": {"liver": 1}})


def test_a_task_that_is_only_segmented_has_no_panel_among_the_probes() -> None:
    score = {"mean": 0.6, "low": 0.5, "high": 0.65, "reason": ""}
    assert probe_scores({"federated": {"tasks": {"head": {"frozen": score, "finetune_8": score}}}}) == ""
