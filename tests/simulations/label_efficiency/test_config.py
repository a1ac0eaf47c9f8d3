"""What a study's file may say, and every problem of it at once."""

from pathlib import Path

import pytest
import yaml

from core import config as configuration
from core.errors import ConfigError
from simulations.label_efficiency.config import LabelEfficiencyConfig

SHIPPED = Path(__file__).parents[3] / "configs" / "simulation" / "label_efficiency.yaml"
TASK = "tasks={mask: {task: configs/tasks/breast_lesion.yaml, core: true}}"


def load(*overrides: str, path: Path | None = None) -> LabelEfficiencyConfig:
    """A configuration of one core task with these overrides."""
    return configuration.load(LabelEfficiencyConfig, path=path, overrides=[TASK, *overrides])[0]


def test_the_shipped_study_has_the_core_grid_of_the_issue_and_a_quick_regime() -> None:
    config, _ = configuration.load(LabelEfficiencyConfig, path=SHIPPED, overrides=())
    core = [name for name, task in config.tasks.items() if task.core]
    assert core == ["breast_lesion", "fetal_head", "breast_class"]
    assert config.budgets == [8, 32, 128, "all"]
    assert config.draws >= 3
    assert config.budgets_of("carotid_lumen") == ["all"]
    quick, _ = configuration.load(LabelEfficiencyConfig, path=SHIPPED, overrides=config.quick)
    assert list(quick.chosen) == core
    assert (len(quick.budgets), quick.draws) == (2, 2)


def test_a_resolved_configuration_says_the_same_when_it_is_read_again(tmp_path: Path) -> None:
    config, text = configuration.load(LabelEfficiencyConfig, path=SHIPPED, overrides=["public.usfm=weights.pth"])
    (tmp_path / "config.yaml").write_text(text)
    again, same = configuration.load(LabelEfficiencyConfig, path=tmp_path / "config.yaml", overrides=())
    assert (again, same) == (config, text)
    assert config.all_arms[-1] == "public:usfm"


def test_budgets_are_ordered_with_all_last() -> None:
    assert load("budgets=[all,32,8]").budgets_of("mask") == [8, 32, "all"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("study=other", "study must be label_efficiency"),
        ("name=../x", "name must be 1 to 64 letters"),
        ("draws=1", r"draws must lie in \[2, 1000\], got 1"),
        ("convergence.draws=4", r"convergence.draws must lie in \[1, 3\], got 4"),
        ("evaluation.bootstrap=1", "evaluation.bootstrap must lie in"),
        ("arms=[federated]", "arms must hold random_init"),
        ("arms=[random_init,fedavg]", "fedavg is none of random_init"),
        ("public={a/b: x}", "public: 'a/b' must be letters"),
        ("pretraining.digests={federated/seed-0: abc}", "must be 64 hexadecimal digits"),
        ("budgets=[0]", "budgets must be whole numbers of patients, at least 1, or all"),
        ("budgets=[true]", "budgets must be whole numbers"),
        ("budgets=[8,8]", "budgets must differ"),
        ("selection_budget=some", "selection_budget must be whole numbers"),
        ("tasks.mask.core=false", "tasks must hold a core task at least"),
        ("tasks.mask.task=", "tasks.mask.task must be a task's YAML file or its fields"),
        ("tasks.mask.budgets=[8]", "a core task takes the study's budgets"),
        ("tasks.more={task: x.yaml, budgets: [9]}", "must stand among the study's"),
    ],
)
def test_what_is_out_of_its_range_is_refused_by_name(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(override)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({"draws": 0, "arms": [], "budgets": [], "processes": 0}))
    with pytest.raises(ConfigError) as error:
        load(path=path)
    assert len(error.value.problems) >= 4
