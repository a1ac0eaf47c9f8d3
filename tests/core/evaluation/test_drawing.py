"""What is shared by all drawings: labels, looks, and data as CSV."""

import csv
import io

from core.evaluation.drawing import Drawing, look_of, plain


def test_labels_hold_only_what_the_font_can_draw_and_no_more_than_fits() -> None:
    assert plain("Zürich 医院\n\x1b[31m") == "Zürich ????[31m"
    assert plain("abcdefgh", most=5) == "abcd…"


def test_the_arms_of_a_comparison_look_unlike_and_hospitals_alone_look_alike() -> None:
    arms = ("federated", "fedavg", "centralized", "local_best", "local_mean", "random_init")
    assert len({(look_of(arm).colour, look_of(arm).marker) for arm in arms}) == len(arms)
    assert look_of("local:a") == look_of("local:b") == look_of("unheard of")


def test_data_come_back_from_csv_as_they_were() -> None:
    rows = [('north, "old"\nwing', 0.1, None), ("south", -2, "x")]
    drawing = Drawing(name="d", markup="", columns=("site", "loss", "note"), rows=rows)
    read = list(csv.reader(io.StringIO(drawing.csv())))
    assert read == [["site", "loss", "note"], ['north, "old"\nwing', "0.1", ""], ["south", "-2", "x"]]


def test_a_name_that_a_spreadsheet_would_run_is_text_and_a_negative_number_stays_one() -> None:
    drawing = Drawing(name="d", markup="", columns=("a", "b"), rows=[("=cmd()", -0.5), ("@x", 1)])
    assert drawing.csv() == "a,b\n'=cmd(),-0.5\n'@x,1\n"
