"""Arms trained at the same time are those trained one after the other, and none is lost when one stops."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.federation.tensors import digest_of
from simulations.results import load_result

TIME_IS_UP = 10
Make = Callable[..., Any]
ARMS = "arms=[random_init,local,federated,centralized]"


def _models(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.glob("arms/seed-*/*")):
        result = load_result(path)
        assert result is not None
        found[f"{path.parent.name}/{path.name}"] = digest_of(result[0].model)
    return found


def test_processes_give_the_bits_of_one_after_the_other(simulator: Make, tmp_path: Path) -> None:
    for name, at_once in (("one", 1), ("two", 2)):
        result = simulator(ARMS, "seeds=[0,3]", f"sim.arms_at_once={at_once}", f"name={name}")
        assert result.exit_code == 0, result.output
    one, two = (_models(tmp_path / "runs" / name) for name in ("one", "two"))
    assert one == two
    assert one["seed-0/federated"] != one["seed-3/federated"]
    assert len(one) == 2 * (1 + 3 + 1 + 2)


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_run_whose_time_is_up_goes_on_to_the_same_numbers(
    at_once: int, simulator: Make, tmp_path: Path, comparable: Make
) -> None:
    arguments = (ARMS, f"sim.arms_at_once={at_once}")
    assert simulator(*arguments, "name=whole").exit_code == 0
    stopped = simulator(*arguments, "name=sliced", "--minutes", "0")
    assert stopped.exit_code == TIME_IS_UP
    assert "--resume goes on" in stopped.stderr
    assert simulator(*arguments, "name=sliced", "--resume").exit_code == 0
    whole, sliced = (comparable(tmp_path / "runs" / name) for name in ("whole", "sliced"))
    assert whole["final_hash"] == sliced["final_hash"]
    assert json.dumps(whole["arms"]) == json.dumps(sliced["arms"])


def test_an_arm_that_fails_in_its_process_fails_the_run_as_itself(simulator: Make) -> None:
    result = simulator("arms=[federated]", "sim.arms_at_once=2", "name=r", "skip.north=[0]", "federation.min_sites=3")
    assert result.exit_code == 7
    assert "round 0 has 2 of at least 3 updates" in result.stderr
