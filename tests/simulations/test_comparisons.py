"""The fields of the metrics that set arms side by side, on a whole run with two seeds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.fixture
def metrics(simulator: Make, tmp_path: Path) -> dict[str, Any]:
    """A run with every arm, two seeds, three random starts and a probe of two classes."""
    result = simulator(
        "arms=[random_init,local,fedavg,federated,centralized]", "seeds=[0,4]", "evaluation.random_inits=3", "name=r",
        "evaluation.tasks.lesion={dataset: tiny, organ: breast, classes: [benign, malignant]}",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads((tmp_path / "runs/r/metrics.json").read_text())
    return found


def test_differences_are_those_of_the_arms_losses(metrics: dict[str, Any]) -> None:
    arms, found = metrics["arms"], metrics["comparisons"]
    ours = arms["federated"]["held_out_loss"]
    for organ in ("breast", "liver"):
        expected = ours[organ] - arms["fedavg"]["held_out_loss"][organ]
        assert found[f"federated_minus_fedavg:{organ}"]["value"] == pytest.approx(expected)
    for name, arm in (("best_hospital", "local_best"), ("centralized", "centralized"), ("local:east", "local:east")):
        expected = ours["overall"] - arms[arm]["held_out_loss"]["overall"]
        one = found[f"federated_minus_{name}"]
        assert one["value"] == pytest.approx(expected)
        assert one["low"] <= one["value"] <= one["high"]


def test_the_nearest_hospital_is_the_one_with_the_lowest_loss(metrics: dict[str, Any]) -> None:
    alone = {
        name: arm["held_out_loss"]["overall"] for name, arm in metrics["arms"].items() if name.startswith("local:")
    }
    expected = metrics["arms"]["federated"]["held_out_loss"]["overall"] - min(alone.values())
    assert metrics["comparisons"]["federated_minus_nearest_hospital"]["value"] == pytest.approx(expected)


def test_every_seed_stands_by_itself_and_random_starts_only_among_the_means(metrics: dict[str, Any]) -> None:
    assert metrics["seeds"] == [0, 4]
    assert sorted(metrics["by_seed"]) == ["0", "4"]
    values = [one["arms"]["federated"]["held_out_loss"]["overall"] for one in metrics["by_seed"].values()]
    assert metrics["arms"]["federated"]["held_out_loss"]["overall"] == pytest.approx(sum(values) / 2)
    assert metrics["gain_kept"]["tasks"] == ["lesion/linear"]
    assert metrics["complete"] is True
