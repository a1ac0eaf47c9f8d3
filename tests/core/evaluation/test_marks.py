"""Marks beside names: where they stand and what is left out."""

import matplotlib as mpl

from core.evaluation.drawing import STYLE, look_of, new_figure
from core.evaluation.marks import draw_marks, finite, mark_of

LOOK = look_of("federated")


def test_what_is_no_finite_number_is_left_out_of_a_mark() -> None:
    mark = mark_of({"value": float("nan"), "low": None, "high": "x"}, LOOK, seeds=[1, None, float("inf"), 2.5])
    assert (mark.value, mark.low, mark.high, mark.seeds) == (None, None, None, [1.0, 2.5])
    assert mark_of(None, LOOK).value is None
    assert (finite(2), finite("2"), finite(None)) == (2.0, None, None)


@mpl.rc_context(STYLE)
def test_marks_of_a_row_stand_one_below_the_other_and_a_missing_one_keeps_its_place() -> None:
    _, axes = new_figure(2)
    marks = [mark_of({"value": value}, LOOK, label=str(value)) for value in (0.1, None, 0.3)]
    drawn = draw_marks(axes[0, 0], [("liver", marks), ("heart", marks)])
    places = [float(line.get_ydata()[0]) for line in axes[0, 0].lines if line.get_marker() == LOOK.marker]
    assert [round(place, 2) for place in places] == [-0.3, 0.3, 0.7, 1.3]  # two steps of 0.3 around the row
    assert list(drawn) == ["0.1", "0.3"]
    assert [label.get_text() for label in axes[0, 0].get_yticklabels()] == ["liver", "heart"]


@mpl.rc_context(STYLE)
def test_an_interval_needs_both_ends() -> None:
    _, axes = new_figure(2)
    half = {"value": 0.5, "low": 0.4, "high": None}
    whole = {"value": 0.5, "low": 0.4, "high": 0.6}
    draw_marks(axes[0, 0], [("half", [mark_of(half, LOOK)]), ("whole", [mark_of(whole, LOOK, seeds=[0.45])])])
    drawn = [list(line.get_xdata()) for line in axes[0, 0].lines]
    assert drawn == [[0.5], [0.45], [0.4, 0.6], [0.5]]
