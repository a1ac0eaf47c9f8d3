"""The configuration of a federated fine-tuning: what ships loads, what would do nothing is refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.config import load
from core.errors import ConfigError
from core.training.task import load_task
from simulations.federated_finetune.config import FederatedFinetuneConfig, StartConfig
from simulations.reproduce import SHIPPED

Configure = Callable[..., FederatedFinetuneConfig]


def test_the_file_that_ships_loads_with_the_task_that_ships() -> None:
    config, _ = load(FederatedFinetuneConfig, path=SHIPPED / "federated_finetune.yaml", overrides=[])
    task = load_task(SHIPPED.parent / "tasks" / "breast_lesion.yaml")
    assert config.task == replace(task, tuning=replace(task.tuning, steps=config.task.tuning.steps))
    assert config.steps == 100 * 4
    assert set(config.without_labels) < set(config.partition.mixes)
    assert len(config.partition.mixes) == 3


def test_it_holds_the_patients_of_the_regimes_runs_back() -> None:
    from simulations.config import SimulationConfig

    config, _ = load(FederatedFinetuneConfig, path=SHIPPED / "federated_finetune.yaml", overrides=[])
    real, _ = load(SimulationConfig, path=SHIPPED / "real.yaml", overrides=[])
    assert (config.seed, config.data) == (real.seed, real.data)
    assert config.encoder == real.encoder


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("study=other", "study must be federated_finetune"),
        ("seeds=[]", "seeds must be one or more"),
        ("seeds=[1,1]", "seeds must be one or more different numbers"),
        ("bootstrap=10", "bootstrap must be at least 100"),
        ("batch=0", "batch must be at least 1"),
        ("task.kind=enhancement", "task.kind must be segmentation"),
        ("task.tuning.steps=7", r"task.tuning.steps is federation.rounds x local_steps = 6 here"),
        ("task.tuning.patience=2", "no arm is stopped early"),
        ("sim.arms_at_once=2", "sim.arms_at_once must be 1 here"),
        ("name=../x", "name must be 1 to 64 letters"),
        ("federation.rounds=0", r"federation.rounds must be at least 1"),
    ],
)
def test_what_is_out_of_range_is_named(configure: Configure, override: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        configure(override)


def test_a_start_has_one_source() -> None:
    with pytest.raises(ConfigError, match="are two starts"):
        StartConfig(run="runs/a", weights="b.safetensors")


def test_the_shared_parts_get_the_same_values(configure: Configure) -> None:
    config = configure()
    shared = config.simulation()
    assert (shared.data, shared.partition, shared.encoder) == (config.data, config.partition, config.encoder)
    assert shared.training_seeds == [0, 1]
