"""The configuration of a run: defaults that fit together, ranges that are checked, files that load."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from core.config import load
from core.errors import ConfigError
from server.study import study_to_json
from simulations.arms import study_of
from simulations.config import (
    ARMS,
    DataConfig,
    EvaluationConfig,
    PhantomConfig,
    SegmentationConfig,
    SimConfig,
    SimulationConfig,
    TaskConfig,
)
from simulations.reproduce import shipped


def test_the_defaults_are_a_valid_run_of_every_arm() -> None:
    config, text = load(SimulationConfig, path=None, overrides=[])
    assert config == SimulationConfig()
    assert tuple(config.arms) == ARMS
    assert "federation:" in text


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.name)
def test_the_files_that_ship_load(path: Path) -> None:
    config, _ = load(SimulationConfig, path=path, overrides=[])
    assert set(config.arms) == set(ARMS)
    assert config.data.side >= config.encoder.side


def test_the_resolved_text_loads_as_the_same_configuration(tmp_path: Path) -> None:
    overrides = ["skip.north=[1,2]", "evaluation.tasks.t={classes: [a, 'b|c']}", "training.learning_rate=1.5e-3"]
    config, text = load(SimulationConfig, path=None, overrides=overrides)
    (tmp_path / "again.yaml").write_text(text)
    again, same = load(SimulationConfig, path=tmp_path / "again.yaml", overrides=[])
    assert again == config
    assert same == text
    assert again.skip == {"north": [1, 2]}
    assert again.evaluation.tasks["t"].classes == ["a", "b|c"]


def test_an_override_wins_over_the_file_and_a_later_one_over_an_earlier(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("seed: 1\nthreads: 3\n")
    config, _ = load(SimulationConfig, path=tmp_path / "c.yaml", overrides=["seed=2", "seed=4"])
    assert (config.seed, config.threads) == (4, 3)


@pytest.mark.parametrize("field", ["patients_per_organ", "frames", "devices"])
def test_a_phantom_has_at_least_one_of_everything(field: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.phantom\.{field} must be at least 1, got 0"):
        PhantomConfig(**{field: 0})


def test_every_problem_of_a_section_is_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        PhantomConfig(patients_per_organ=0, side=31)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("side", [7, 2049])
def test_the_side_of_cached_images_has_bounds(side: int) -> None:
    with pytest.raises(ConfigError, match=rf"data\.side must lie in \[8, 2048\], got {side}"):
        DataConfig(side=side)


@pytest.mark.parametrize(("test", "validation"), [(0.0, 0.1), (0.5, 0.5), (0.1, 0.0), (1.0, 0.1)])
def test_somebody_is_held_out_and_somebody_is_left(test: float, validation: float) -> None:
    with pytest.raises(ConfigError, match="must be positive, sum below 1"):
        DataConfig(test=test, validation=validation)


def test_an_evaluation_needs_masks_images_and_draws() -> None:
    with pytest.raises(ConfigError) as caught:
        EvaluationConfig(masks=0, batch=0, bootstrap=99, tasks={"t": TaskConfig(column="device", classes=["a"])})
    assert len(caught.value.problems) == 5


@pytest.mark.parametrize("name", ["a", "run-1", "2026.01", "A_b", "x" * 64])
def test_a_good_name(name: str) -> None:
    assert SimulationConfig(name=name).name == name


@pytest.mark.parametrize("name", ["007", "2026-01-31", "2026-02-31", "1e3", "on", "null", "12_30"])
def test_a_name_on_the_command_line_stays_as_it_was_typed(name: str) -> None:
    """YAML would make numbers, dates and truth of these."""
    assert load(SimulationConfig, path=None, overrides=[f"name={name}"])[0].name == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-x", "a/b", "a b", "x" * 65, "a\n", "ä"])
def test_a_name_that_is_no_folder_of_its_own(name: str) -> None:
    with pytest.raises(ConfigError, match="name must be 1 to 64"):
        SimulationConfig(name=name)


def test_a_run_has_an_arm_at_least() -> None:
    with pytest.raises(ConfigError, match="arms must name at least one of"):
        SimulationConfig(arms=[])


def test_training_seeds_are_the_run_s_own_unless_they_are_named() -> None:
    assert SimulationConfig(seed=7).training_seeds == [7]
    assert SimulationConfig(seed=7, seeds=[1, 0]).training_seeds == [1, 0]
    with pytest.raises(ConfigError, match="seeds must differ"):
        SimulationConfig(seeds=[1, 1])


def test_further_random_weights_take_the_first_seeds_that_no_training_has() -> None:
    evaluation = EvaluationConfig(random_inits=4)
    assert SimulationConfig(seeds=[0, 2], evaluation=evaluation).initial_seeds == [1, 3]
    assert SimulationConfig(seeds=[0, 2]).initial_seeds == []


def test_segmentation_tasks_load_by_name_with_their_own_training() -> None:
    overrides = [
        "evaluation.segmentation.head={dataset: hc18, organ: fetal_head, budgets: [4], steps: 7, learning_rate: 1e-4}",
        "evaluation.segmentation.lesion={}",
        "evaluation.random_inits=3",
    ]
    evaluation = load(SimulationConfig, path=None, overrides=overrides)[0].evaluation
    head = evaluation.segmentation["head"]
    assert (head.dataset, head.organ, head.budgets, head.steps) == ("hc18", "fetal_head", [4], 7)
    assert head.learning_rate == 1e-4
    assert evaluation.segmentation["lesion"] == SegmentationConfig()
    assert evaluation.random_inits == 3


def test_every_problem_of_a_segmentation_task_is_listed_with_its_name() -> None:
    wrong = [
        "evaluation.segmentation.head={budgets: [8, 8], steps: 0}",
        "evaluation.segmentation.lesion={budgets: [0], repeats: 0}",
        "evaluation.random_inits=0",
        "evaluation.masks=0",
    ]
    with pytest.raises(ConfigError) as caught:
        load(SimulationConfig, path=None, overrides=wrong)
    assert len(caught.value.problems) == 6
    for words in ("evaluation.segmentation.head.steps must be at least 1, got 0",
                  "evaluation.segmentation.lesion.budgets must be different numbers of at least 1, got [0]",
                  "evaluation.random_inits must be at least 1, got 0"):  # fmt: skip
        assert words in caught.value.problems


@pytest.mark.parametrize(
    ("field", "value"),
    [("backend", "threads"), ("workers", 0), ("workers", 257), ("arms_at_once", 0), ("gpus_each", -0.5)],
)
def test_where_the_work_is_done_has_bounds(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"sim\.{field} must"):
        SimConfig(**{field: value})


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_remedy_is_named() -> None:
    with pytest.raises(ConfigError, match=r"needs Ray, which is not installed; pip install '\.\[ray\]'"):
        SimConfig(backend="ray")


def test_where_the_work_is_done_is_no_part_of_the_plan(configure: Callable[..., SimulationConfig]) -> None:
    studies = [
        study_to_json(study_of(configure(*overrides), weighting="organ_aware"))
        for overrides in ((), ("sim.backend=workers", "sim.workers=3", "sim.arms_at_once=2"))
    ]
    assert studies[0] == studies[1]
