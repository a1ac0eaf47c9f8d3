"""All seeds as one: means, what is chosen once for all of them, and each seed by itself."""

from typing import Any

import numpy as np
import pytest

from simulations.merge import Merged
from simulations.results import BySeed, Results, Scored, Trained

MIX = {"breast": 1.0}


def _found(loss: float, *, validation: float | None = None) -> tuple[Trained, Scored]:
    losses = {"p/breast": ("breast", loss)}
    chosen = {"q/breast": ("breast", loss if validation is None else validation)}
    tasks: dict[str, dict[str, dict[str, Any]]] = {
        "mask": {"frozen": {"mean": loss / 2, "low": 0.0, "high": 1.0, "reason": "", "by_patient": {"p": loss / 2}}}
    }
    model = {"w": np.zeros(1, np.float32)}
    return Trained(model=model, images=10, seconds=2.0), Scored(test=losses, validation=chosen, tasks=tasks)


@pytest.fixture
def results() -> BySeed:
    """Two training seeds with two hospitals and both pooled arms, and one more random start."""

    def one(shift: float) -> Results:
        return {
            "random_init": _found(1.0 + shift),
            "local:a": _found(0.8 + shift),
            "local:b": _found(0.6 + shift, validation=0.9),  # better on test patients, worse on validation
            "federated": _found(0.4 + shift),
            "centralized_wide": _found(0.5 + shift),
            "centralized_long": _found(0.3 + shift),
        }

    return {0: one(0.0), 1: one(0.1), 2: {"random_init": _found(1.6)}}


def test_an_arm_is_the_mean_over_its_seeds_and_random_weights_over_all_starts(results: BySeed) -> None:
    arms = Merged(results, MIX).arms()
    assert arms["federated"]["held_out_loss"]["overall"] == pytest.approx((0.4 + 0.5) / 2)
    assert arms["random_init"]["held_out_loss"]["overall"] == pytest.approx((1.0 + 1.1 + 1.6) / 3)
    assert arms["federated"]["tasks"]["mask"]["frozen"]["mean"] == pytest.approx((0.2 + 0.25) / 2)


def test_best_hospital_and_reference_are_chosen_on_validation_once_for_all_seeds(results: BySeed) -> None:
    merged = Merged(results, MIX)
    assert (merged.best, merged.reference) == ("local:a", "centralized_long")
    assert [losses["p/breast"][1] for losses in merged.losses("local_best")] == pytest.approx([0.8, 0.9])
    assert all(one.best == "local:a" for _, one in merged.each())


def test_seeds_that_trained_nothing_are_in_no_comparison(results: BySeed) -> None:
    merged = Merged(results, MIX)
    assert len(merged.local_losses()) == 2
    assert [len(hospitals) for hospitals in merged.local_losses()] == [2, 2]
    assert [seed for seed, _ in merged.each()] == [0, 1]
    assert sorted(merged.by_seed()) == ["0", "1"]


def test_the_mean_hospital_is_no_model_and_has_no_interval(results: BySeed) -> None:
    mean = Merged(results, MIX).arms()["local_mean"]
    assert mean["held_out_loss"]["overall"] == pytest.approx(np.mean([0.8, 0.6, 0.9, 0.7]))
    assert mean["tasks"]["mask"]["frozen"]["low"] is None
