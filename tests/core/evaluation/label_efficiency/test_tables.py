"""The study's tables of text."""

from core.evaluation.label_efficiency import tables
from core.evaluation.label_efficiency.analysis import Analysis


def test_scores_have_a_row_a_task_and_arm_and_a_dash_where_nothing_is(whole: Analysis) -> None:
    found = tables.scores(whole)
    assert found.head == ["task, metric", "arm", "8 patients", "32 patients", "all patients"]
    assert len(found.rows) == 3 * 5
    head = next(row for row in found.rows if row[0].startswith("head, Dice (all: 50 patients)"))
    assert (head[1], head[2]) == ("random weights", "–")
    assert head[3].startswith("0.5")
    lung = next(row for row in found.rows if row[0] == "lung, balanced accuracy")
    assert (lung[2], lung[4]) == ("–", "–")
    # Class 0 has 4 right of 8, class 1 the two odd patients of 4.
    assert lung[3].startswith("0.50 (")
    assert tables.task_scores(whole, "lung").head == ["arm", "32 patients"]


def test_gains_have_the_comparisons_with_p_where_they_are_tested(whole: Analysis) -> None:
    found = tables.gains(whole)
    assert found.head[:5] == ["task", "labelled patients", "federated (ours) − random weights", "p", "p, Holm"]
    assert found.head[-2:] == ["federated (ours) − pooled (reference)", "p"]
    by_key = {(row[0], row[1]): row for row in found.rows}
    assert len(by_key) == 3 + 3 + 1
    assert set(by_key["head", "8"][2:]) == {"–"}
    assert by_key["lung", "32"][4] == "–"  # not a core task: not adjusted
    assert by_key["mass", "8"][2].startswith("+0.")


def test_p_values_are_never_zero() -> None:
    assert [tables.p_text(p) for p in (None, 0.5, 0.001, 0.0001)] == ["–", "0.500", "0.001", "< 0.001"]


def test_kept_reach_goals_and_cost(whole: Analysis) -> None:
    assert [row[0] for row in tables.kept(whole).rows] == ["all core tasks", "mass", "head", "lung (descriptive)"]
    assert "was not shown to gain" in tables.kept(whole).rows[-1][2]
    reach = {(row[0], row[1]): row[2:] for row in tables.reach(whole).rows}
    assert reach["mass", "federated (ours)"][:2] == ["8", "8"]
    assert reach["mass", "random weights"][0] in ("8", "32", "all: 50")
    assert ("lung", "federated (ours)") not in reach
    assert {row[1] for row in tables.goals(whole).rows} <= {"met", "missed", "not measured"}
    total = tables.cost(whole).rows[-1]
    cells = 2 * 5 * (3 + 3 + 1)  # draws, arms, budgets of each task
    assert total == ["all", "", str(cells), "7.0 min", f"{100 * cells:,}", f"{1600 * cells:,}", "267"]


def test_further_metrics_are_means_over_draws(whole: Analysis) -> None:
    found = tables.further(whole, "head")
    assert found.head == ["labelled patients", "arm", "hd95 pixels"]
    assert found.rows[0] == ["8", "random weights", "–"]
    assert found.rows[-1][2] == "4.00"
