"""Tables of a run's results, as plain text."""

from typing import Any

from core.evaluation import result_tables


def test_losses_go_from_the_rarest_organ_to_all_with_what_federation_changes(grown: dict[str, Any]) -> None:
    found = result_tables.losses(grown)
    assert found.head[0] == "organ"
    assert found.head[-1] == "federated − FedAvg"  # best hospital is compared over all organs only: no column
    assert [row[0] for row in found.rows] == ["liver", "fetal head", "all"]
    assert found.rows[0][-1] == "-0.100 (-0.150 to -0.050)"
    assert found.rows[1][-1] == "–"


def test_an_older_run_has_losses_but_neither_seeds_nor_comparisons(metrics: dict[str, Any]) -> None:
    assert [row[0] for row in result_tables.losses(metrics).rows] == ["fetal head", "liver", "all"]
    assert result_tables.by_seed(metrics).rows == []
    assert result_tables.comparisons(metrics).rows == []
    assert result_tables.scores(metrics, segmentation=True).rows == []


def test_a_seed_has_a_row_with_its_gap(grown: dict[str, Any]) -> None:
    rows = result_tables.by_seed(grown).rows
    assert [row[0] for row in rows] == ["0", "1"]
    assert rows[0][-2:] == ["0.70 (0.60 to 0.80)", "–"]


def test_scores_are_apart_by_kind_and_in_order_of_labels(grown: dict[str, Any]) -> None:
    dice = result_tables.scores(grown, segmentation=True)
    assert dice.head[1:] == [
        "mass, frozen, linear map",
        "mass, fine-tuned, 8 patients",
        "mass, fine-tuned, 32 patients",
    ]
    ours = next(row for row in dice.rows if row[0] == "federated (ours)")
    assert ours[1] == "0.45 (0.35 to 0.55)"  # 0.6 - 0.6 / 4
    assert len(result_tables.scores(grown, segmentation=False).head) == 3


def test_a_gap_without_a_value_gives_its_reason(metrics: dict[str, Any]) -> None:
    reason = {"value": None, "low": None, "high": None, "reason": "pooling was not better"}
    rows = result_tables.gaps({**metrics, "gap_closed": reason}).rows
    assert rows[0] == ["gap in held-out loss closed, federated (ours)", "–", "pooling was not better"]


def test_a_comparison_is_told_in_words() -> None:
    assert result_tables.comparison_label("federated_minus_fedavg:fetal_head") == "federated − FedAvg, fetal head"
    assert result_tables.comparison_label("odd_name") == "odd name"


def test_cost_names_every_arm(metrics: dict[str, Any]) -> None:
    rows = result_tables.cost(metrics).rows
    assert len(rows) == len(metrics["arms"])
    assert rows[0] == ["random weights", "12,000", "12.5 s"]
