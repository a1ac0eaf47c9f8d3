"""What the drawings do with odd data; how they look is for eyes."""

import re

import pytest

from core.evaluation.drawing import Drawing
from core.evaluation.figures import case_mix, cost, loss_curves


def _markup(drawing: Drawing | None) -> str:
    assert drawing is not None
    return drawing.markup


def test_text_and_arms_take_the_colours_of_the_page() -> None:
    svg = _markup(loss_curves({"federated": [(0.0, 1.0), (10.0, 0.5)]}, {}))
    assert "var(--blue)" in svg
    assert "currentColor" in svg
    assert not re.search("#01020[34]|#0072b2", svg)


def test_a_drawing_scales_to_the_page_and_has_words_for_who_cannot_see_it() -> None:
    svg = _markup(case_mix({"north": {"liver": 3}, "south": {"heart": 0}}))
    head = svg[: svg.index(">")]
    assert "viewBox" in head
    assert "width=" not in head
    assert 'aria-label="Number of training patients for 2 hospitals and 2 organs."' in head


def test_hospitals_that_trained_alone_share_one_entry_of_the_legend() -> None:
    curve = [(0.0, 1.0), (10.0, 0.5)]
    svg = _markup(loss_curves({"local:a": curve, "local:b": curve, "federated": curve}, {}))
    assert 'aria-label="Loss against images seen for federated (ours), one hospital alone."' in svg


@pytest.mark.parametrize("curve", [[], [(5.0, 1.0)], [(0.0, float("nan")), (1.0, float("inf"))]])
def test_an_empty_short_or_broken_curve_is_no_error(curve: list[tuple[float, float]]) -> None:
    drawing = loss_curves({"federated": curve, "fedavg": [(0.0, 1.0), (9.0, 0.5)]}, {"federated": curve})
    assert "<svg" in _markup(drawing)


def test_nothing_to_draw_is_no_drawing() -> None:
    assert loss_curves({}, {}) is loss_curves({"federated": []}, {}) is None
    assert case_mix({}) is None
    assert cost({"random_init": {"seconds": 0.0, "images": 0}}) is None


def test_many_hospitals_and_no_patients_are_drawn() -> None:
    assert "<svg" in _markup(case_mix({f"h{i}": {"liver": 0, "heart": 0} for i in range(30)}))


def test_a_name_that_looks_like_a_formula_is_drawn_as_it_is() -> None:
    assert "<svg" in _markup(case_mix({"$\\frac{": {"liver": 1}}))


def test_the_data_hold_every_point_and_every_number() -> None:
    curves = loss_curves({"fedavg": [(10.0, 0.5), (20.0, 0.4)]}, {"fedavg": [(20.0, 0.6)]})
    assert curves is not None
    assert curves.csv().splitlines() == [
        "arm,patients,images,loss",
        "fedavg,training images,10.0,0.5",
        "fedavg,training images,20.0,0.4",
        "fedavg,held-out patients,20.0,0.6",
    ]
    mix = case_mix({"north": {"liver": 3}, "south": {"heart": 2}})
    assert mix is not None
    assert mix.csv().splitlines() == ["hospital,heart,liver", "north,0,3", "south,2,0"]
    spent = cost({"federated": {"seconds": 2.0, "images": 10}, "random_init": {"seconds": 0.0}})
    assert spent is not None
    assert spent.csv().splitlines() == ["arm,seconds,images,images_per_second", "federated,2.0,10,5.0"]
