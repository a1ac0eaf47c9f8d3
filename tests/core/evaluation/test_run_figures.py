"""Figures of several runs."""

from typing import Any

from core.evaluation.run_figures import cost, gaps, looks_of, organ_losses, organ_order, scores


def test_every_run_is_in_the_data_of_every_figure(metrics: dict[str, Any], grown: dict[str, Any]) -> None:
    runs = {"old": metrics, "new": grown}
    drawings = [gaps(runs), organ_losses(runs), scores(runs, segmentation=False), cost(runs)]
    for drawing in drawings:
        assert drawing is not None
        assert {row[drawing.columns.index("run")] for row in drawing.rows} == {"old", "new"}
    dice = scores(runs, segmentation=True)
    assert dice is not None
    assert "mass,frozen,old,all,,,," in dice.csv().splitlines()
    assert len({drawing.name for drawing in [*drawings, dice] if drawing}) == 5


def test_runs_that_lack_everything_have_no_figure() -> None:
    runs = {"a": {"arms": {}}, "b": {"arms": {"federated": {}}}}
    found = [
        gaps(runs),
        organ_losses(runs),
        scores(runs, segmentation=True),
        scores(runs, segmentation=False),
        cost(runs),
    ]
    assert found == [None] * 5


def test_two_runs_of_forty_never_look_alike() -> None:
    looks = looks_of([str(number) for number in range(42)])
    assert len({(look.colour, look.marker) for look in looks.values()}) == 42


def test_organs_stand_where_the_first_run_that_has_them_puts_them() -> None:
    first = {"arms": {"a": {"held_out_loss": {"liver": 1, "heart": 1}}}, "rarest": ["liver", "heart"]}
    second = {"arms": {"a": {"held_out_loss": {"breast": 1, "liver": 1}}}}
    assert organ_order([first, second]) == ["liver", "heart", "breast"]
