"""The sentences on top: none louder than its interval."""

from collections.abc import Callable

import pytest

from core.evaluation.label_efficiency.analysis import Analysis
from core.evaluation.label_efficiency.cells import Cell
from core.evaluation.label_efficiency.claims import few_labels, kept, saved, sentences, unfinished

Cells = Callable[..., list[Cell]]
Study = Callable[..., Analysis]


def _levels(federated: float, centralized: float = 0.7) -> dict[str, float]:
    return {"random_init": 0.5, "federated": federated, "centralized": centralized}


@pytest.mark.parametrize(
    ("federated", "centralized", "start"),
    [(0.69, 0.7, "Federation kept 95% (95% interval 95% to 95% over test patients and 2 draws of labelled patients)"),
     (0.5, 0.7, "Not shown: federation kept 0%"), (0.4, 0.7, "Federation did worse than random weights: it kept -50%"),
     (0.6, 0.5, "Not shown: how much of what pooled pretraining gains")],
)  # fmt: skip
def test_the_headline(cells: Cells, study: Study, federated: float, centralized: float, start: str) -> None:
    assert kept(study(cells(_levels(federated, centralized)))).startswith(start)


def test_a_share_without_bounds_is_not_shown(cell: Callable[..., Cell], study: Study) -> None:
    # Draw 0 gains 0.2 by pooling and draw 1 0.000001: in a quarter of the samples the pooled gain is next to nothing.
    levels = {"random_init": (0.5, 0.5), "federated": (0.6, 0.6), "centralized": (0.7, 0.500001)}
    cells = [cell(task, arm, budget, draw, {"x": own[draw]}) for arm, own in levels.items()
             for task in ("mass", "head") for budget in (8, 32, "all") for draw in range(2)]  # fmt: skip
    found = kept(study(cells))
    assert found.startswith("Federation kept 100% (95% interval 50% to ")  # 0.1 / 0.2 at one end, 0.1 / 0.000001


def test_every_budget_says_where_arms_are_told_apart_after_holm(cells: Cells, study: Study) -> None:
    better, _ = few_labels(study(cells()))
    assert better.startswith(
        "With 8 labelled patients, federation against random weights: better on mass (+0.190), head (+0.190)"
    )
    assert "worse on mass (-0.100), head (-0.100)" in few_labels(study(cells(_levels(0.4))))[0]
    # With 100 draws the smallest p is 2 / 101, six times that is 0.12.
    assert "not told apart on mass (+0.190), head (+0.190)" in few_labels(study(cells(), bootstrap=100))[0]


def test_labels_are_saved_where_fewer_than_all_do(cells: Cells, study: Study) -> None:
    assert saved(study(cells())) == [
        "Federation reaches random weights with all labels (lower bound within 0.02) on mass with 8 patients of 50, "
        "head with 8 patients of 50."
    ]
    assert saved(study(cells(_levels(0.4)))) == []


def test_an_unfinished_study_says_so(cells: Cells, study: Study) -> None:
    assert unfinished(study(cells())) == ""
    part = study(cells()[:-5])
    assert sentences(part)[-1] == "Unfinished: 5 of 36 cells were not run; what they decide is left out."
