"""The whole analysis and its document."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core.errors import CheckpointError, ConfigError, DataError
from core.evaluation.label_efficiency.analysis import Analysis, analyse, analysis_from, limits
from core.evaluation.label_efficiency.cells import Cell

Cells = Callable[..., list[Cell]]
Study = Callable[..., Analysis]


def test_the_document_carries_every_cell_and_the_share_by_task(cells: Cells, study: Study) -> None:
    made = cells()
    document = study(made).document()
    assert len(document["cells"]) == len(made) == 2 * 3 * 3 * 2
    assert sorted(json.dumps(one) for one in document["cells"]) == sorted(json.dumps(one.document()) for one in made)
    for name in ("overall", "mass", "head"):
        assert document["gain_kept"][name]["value"] == pytest.approx(0.19 / 0.2)
        assert set(document["gain_kept"][name]) == {"value", "low", "high", "reason"}
    assert len(document["scores"]) == 2 * 3 * 3
    assert {one["patients"] for one in document["scores"] if one["budget"] == "all"} == {50}


def test_the_analysis_comes_back_from_its_document(whole: Analysis) -> None:
    content = json.loads(json.dumps(whole.document(), allow_nan=False))
    assert analysis_from(content, place="metrics.json").document() == whole.document()


def test_the_order_of_the_cells_does_not_matter_and_the_seed_does(cells: Cells, study: Study) -> None:
    made = cells(spread=0.1)
    assert study(made[::-1]).document() == study(made).document()
    assert study(made, seed=1).scores != study(made).scores


def test_a_study_without_any_cell_says_so(study: Study) -> None:
    found = study([])
    assert found.gain_kept["overall"].value is None
    assert {one.met for one in found.goals} == {None}
    assert "mass, 8 patients: not run (every arm)." in found.left_out
    json.dumps(found.document(), allow_nan=False)


def test_one_draw_and_one_patient_are_enough(cell: Callable[..., Cell]) -> None:
    cells = [cell("mass", arm, 8, 0, {"x": level}) for arm, level in (("random_init", 0.4), ("federated", 0.5))]
    found = analyse(cells, arms=["random_init", "federated"], core_tasks=["mass"], tasks={"mass": "Dice"}, budgets=[8],
                    draws=1, seed=0, bootstrap=1)  # fmt: skip
    assert found.gain("mass", "federated", 8).estimate.value == pytest.approx(0.1)  # type: ignore[union-attr]
    assert found.gain("mass", "federated", 32) is None


@pytest.mark.parametrize(
    "changed",
    [{"schema_version": 2}, {"cells": None}, {"cells": [3]}, {"design": None}, {"design": {"arms": []}}, {"seed": None},
     {"bootstrap": "many"}, {"bootstrap": 0}, {"cells": [{}]}],
)  # fmt: skip
def test_a_damaged_document_is_refused_by_name(cells: Cells, study: Study, changed: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"^runs/metrics\.json"):
        analysis_from(study(cells()).document() | changed, place="runs/metrics.json")
    with pytest.raises(CheckpointError):
        analysis_from([], place="metrics.json")


def test_cells_of_another_study_and_no_bootstrap_are_refused(cells: Cells, study: Study) -> None:
    with pytest.raises(DataError, match="arm 'federated' is not of the study"):
        study(cells(), arms=("random_init", "centralized"))
    with pytest.raises(ConfigError, match="bootstrap must be at least 1"):
        study(cells(), bootstrap=0)


def test_limits_name_the_draws_and_what_is_descriptive(whole: Analysis) -> None:
    said = limits(whole.design)
    assert any("2 draws of labelled patients" in one for one in said)
    assert said[-1] == "Descriptive only, with few patients or one budget: lung."


def test_limits_say_what_the_draws_cover_and_what_public_weights_may_have_seen(cells: Cells, study: Study) -> None:
    said = study(cells()).document()["limits"]
    assert said[0].startswith("Draws take the few training seeds of the pretraining in turn")
    assert not any("Public weights" in one for one in said)
    given = limits(replace(study(cells()).design, arms=("random_init", "public:usfm")))
    assert any("may have seen the test patients" in one for one in given)
