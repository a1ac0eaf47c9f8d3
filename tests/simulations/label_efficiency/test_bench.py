"""What a study is made of, read from its files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import CheckpointError, ConfigError
from simulations.label_efficiency.bench import found, opened

Run = Callable[..., Path]
SEGMENTATION: dict[str, Any] = {"kind": "segmentation", "organ": "breast", "tuning": {"steps": 3, "batch": 4}}


def test_a_task_file_that_changed_does_not_go_on_with_a_study(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(yaml.safe_dump(SEGMENTATION))
    given = (f"tasks.mask.task={path}", "budgets=[2]", "arms=[random_init]")
    run(*given)
    path.write_text(yaml.safe_dump({**SEGMENTATION, "tuning": {**SEGMENTATION["tuning"], "steps": 4}}))
    with pytest.raises(CheckpointError, match=r"mask\.yaml differs from what is given now"):
        run(*given, resume=True)


def test_budgets_hold_labels_in_proportion_and_no_patient_is_on_both_sides(finished: Path) -> None:
    data = opened(finished).data["mask"]
    sides = [set(part.patients_N.tolist()) for part in (data.train, data.validation, data.test)]
    assert len(set.union(*sides)) == sum(map(len, sides))
    assert set(data.strata) == sides[0]
    assert set(data.strata.values()) <= {"normal", "benign", "malignant"}
    budgets = data.labelled([2, "all"], seed=0)
    two, everyone = budgets[2], budgets["all"]
    assert isinstance(two, list)
    assert isinstance(everyone, list)
    assert set(two) < set(everyone)
    assert set(everyone) == sides[0]


def test_the_problems_of_all_tasks_are_told_at_once(run: Run) -> None:
    with pytest.raises(ConfigError) as error:
        run("tasks={a: {task: {kind: some}, core: true}, b: {task: nowhere.yaml}}")
    assert any(problem.startswith("tasks.a: ") for problem in error.value.problems)
    assert any(problem.startswith("tasks.b: nowhere.yaml") for problem in error.value.problems)
    with pytest.raises(ConfigError, match=r"tasks\.mask: tuning\.patience must be 0 here"):
        run("tasks.mask.overrides=[tuning.patience=1]")


def test_a_shipped_file_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert found("configs/tasks/breast_lesion.yaml").exists()
    (tmp_path / "mine.yaml").touch()
    assert found("mine.yaml") == Path("mine.yaml")


def test_decibels_do_not_count_for_the_headline(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"tasks\.mask\.core: an enhancement's decibels cannot be added"):
        run("tasks.mask.task={kind: enhancement, organ: breast}")
