"""Arms can start from a finished run's pooled model, and the plan says so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.federation.tensors import digest_of
from simulations.results import load_result

CONFIGURATION, PLAN = 2, 4
Make = Callable[..., Any]


def _run(simulator: Make, *arguments: str) -> None:
    result = simulator(*arguments)
    assert result.exit_code == 0, result.stderr


def test_every_arm_starts_from_the_pooled_model(simulator: Make, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    _run(simulator, "arms=[centralized]", "name=first")
    warm = f"warm_start={runs / 'first'}"
    still = ("training.learning_rate=1e-12", "training.weight_decay=0")
    _run(simulator, "arms=[random_init,federated,centralized]", "name=second", warm, *still)
    reference = json.loads((runs / "first/metrics.json").read_text())["reference"]
    start = load_result(runs / "first/arms/seed-0" / reference)
    assert start is not None
    for arm in ("federated", "centralized_wide", "centralized_long"):
        found = load_result(runs / "second/arms/seed-0" / arm)
        assert found is not None
        gap = max(abs(found[0].model[name] - value).max() for name, value in start[0].model.items())
        assert gap < 1e-8
    plan = json.loads((runs / "second/arms/seed-0/federated/server/plan.json").read_text())
    assert plan["environment"]["start"] == digest_of(start[0].model)
    cold = load_result(runs / "second/arms/seed-0/random_init")
    assert cold is not None
    assert digest_of(cold[0].model) != digest_of(start[0].model)


def test_a_run_that_is_not_there_or_has_no_pooled_arm_is_named(simulator: Make, tmp_path: Path) -> None:
    assert simulator("name=a", f"warm_start={tmp_path / 'nothing'}").exit_code == CONFIGURATION
    _run(simulator, "arms=[federated]", "name=first")
    result = simulator("name=b", f"warm_start={tmp_path / 'runs/first'}")
    assert result.exit_code == CONFIGURATION
    assert "has no trained pooled arm; run it with arms=[centralized]" in result.stderr


def test_a_model_of_another_shape_is_refused(simulator: Make, tmp_path: Path) -> None:
    _run(simulator, "arms=[centralized]", "name=first", "encoder.width=8")
    result = simulator("name=b", f"warm_start={tmp_path / 'runs/first'}")
    assert result.exit_code == PLAN
    assert "the model to start from" in result.stderr
