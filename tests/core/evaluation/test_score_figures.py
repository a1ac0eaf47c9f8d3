"""Figures of what came out: which rows they have, and what odd runs do to them."""

from typing import Any

from core.evaluation.score_figures import closed_gap, differences, organ_losses, probe_scores, segmentation_scores

ALL = (organ_losses, closed_gap, differences, probe_scores, segmentation_scores)


def test_a_run_of_two_seeds_is_drawn_in_all_figures_with_its_seeds_in_the_data(grown: dict[str, Any]) -> None:
    drawings = [draw(grown) for draw in ALL]
    assert all(drawing is not None and "<svg" in drawing.markup for drawing in drawings)
    assert len({drawing.name for drawing in drawings if drawing}) == len(ALL)
    for drawing in drawings:
        if drawing and "seed" in drawing.columns:
            assert {row[drawing.columns.index("seed")] for row in drawing.rows} == {"all", "0", "1"}


def test_losses_begin_with_the_rarest_organ_and_end_with_all(grown: dict[str, Any]) -> None:
    drawing = organ_losses(grown)
    assert drawing is not None
    organs = list(dict.fromkeys(row[0] for row in drawing.rows))
    assert organs == ["liver", "fetal_head", "overall"]
    assert ("liver", "federated", "all", 0.6) in list(drawing.rows)


def test_a_run_without_the_newer_fields_is_drawn_as_far_as_it_goes(metrics: dict[str, Any]) -> None:
    assert [draw(metrics) is not None for draw in ALL] == [True, True, False, True, False]


def test_a_run_with_nothing_to_show_has_no_figure() -> None:
    bare = {"arms": {"federated": {"held_out_loss": {}}}}
    assert [draw(bare) for draw in ALL] == [None] * len(ALL)


def test_scores_without_interval_or_value_are_no_error() -> None:
    tasks = {
        "t": {"linear": {"mean": 0.5, "low": None, "high": None}, "knn": {"mean": None, "reason": "none"}},
        "s": {"frozen": {"mean": None, "reason": "no mask"}, "finetune_8": {"mean": 0.4}},
    }
    metrics = {"arms": {"federated": {"tasks": tasks}, "fedavg": {}}}
    probes, dice = probe_scores(metrics), segmentation_scores(metrics)
    assert probes is not None
    assert dice is not None
    assert "s,frozen,federated,all,,,,no mask" in dice.csv().splitlines()
    assert "t,linear,federated,all,0.5,,," in probes.csv().splitlines()


def test_differences_of_other_units_stand_in_panels_of_their_own(grown: dict[str, Any]) -> None:
    drawing = differences(grown)
    assert drawing is not None
    assert drawing.markup.count("-axes_") == 2
    assert "federated − best hospital" in drawing.markup[: drawing.markup.index(">")]


def test_a_closed_gap_without_a_value_is_in_the_data_with_its_reason() -> None:
    fedavg = {"value": None, "low": None, "high": None, "reason": "not run"}
    drawing = closed_gap(
        {"gap_closed": {"value": 0.5, "low": 0.4, "high": 0.6, "reason": ""}, "gap_closed_fedavg": fedavg}
    )
    assert drawing is not None
    assert drawing.csv().splitlines()[1:] == ["federated,all,0.5,0.4,0.6,", "fedavg,all,,,,not run"]
