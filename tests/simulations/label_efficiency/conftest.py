"""A tiny phantom, a finished pretraining on it, and ways to run a study of seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from simulations.experiment import simulate
from simulations.label_efficiency.study import run_study

SEGMENTATION = {
    "kind": "segmentation",
    "organ": "breast",
    "tuning": {"steps": 3, "batch": 4, "evaluations": 1},
}
CLASSIFICATION = {
    "kind": "classification",
    "organ": "breast",
    "classes": ["benign", "malignant"],
    "tuning": {"steps": 3, "batch": 4, "evaluations": 1},
}
PRETRAINING: dict[str, Any] = {
    "threads": 1,
    "seeds": [0, 1],
    "arms": ["local", "federated", "centralized"],
    "data": {
        "side": 20,
        "test": 0.3,
        "validation": 0.2,
        "phantom": {"patients_per_organ": 20, "frames": 1, "side": 32, "devices": 2},
    },
    "partition": {"kind": "column", "floor": 1},
    "encoder": {"size": "custom", "width": 16, "depth": 1, "heads": 2, "patch": 4, "side": 16, "channels": 1},
    "objective": {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2},
    "training": {"batch": 4},
    "federation": {"rounds": 1, "local_steps": 2, "min_patients": 1},
    "evaluation": {"masks": 1, "bootstrap": 100},
}
STUDY: dict[str, Any] = {
    "study": "label_efficiency",
    "processes": 1,
    "draws": 2,
    "budgets": [2, "all"],
    "selection_budget": 2,
    "convergence": {"max_doublings": 1, "draws": 1},
    "evaluation": {"bootstrap": 100},
    "tasks": {"mask": {"task": SEGMENTATION, "core": True}},
}
"""Two draws, two budgets, one task: five arms are 4 cells each."""

Run = Callable[..., Path]


@pytest.fixture(scope="session")
def phantom_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the phantom and the cache of decoded images are kept for the whole session."""
    return tmp_path_factory.mktemp("label-efficiency")


@pytest.fixture(scope="session")
def pretraining_file(phantom_place: Path) -> Path:
    """The YAML file of the tiny pretraining."""
    path = phantom_place / "pretraining.yaml"
    data = {**PRETRAINING["data"], "cache": str(phantom_place / "data" / "cache")}
    path.write_text(yaml.safe_dump({**PRETRAINING, "data": data, "runs": str(phantom_place / "runs")}))
    return path


@pytest.fixture(scope="session")
def pretrained(pretraining_file: Path) -> Path:
    """The folder of the finished pretraining; for reading only."""
    return simulate(
        path=pretraining_file,
        overrides=["name=pretrained"],
        resume=False,
        overwrite=False,
        console=Console(quiet=True),
    )


@pytest.fixture
def study_file(tmp_path: Path, pretraining_file: Path) -> Path:
    """The tiny study, which makes its own pretraining; its runs lie below the test's folder."""
    path = tmp_path / "study.yaml"
    content = {**STUDY, "runs": str(tmp_path / "runs"), "pretraining": {"config": str(pretraining_file)}}
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def run(study_file: Path, pretrained: Path) -> Run:
    """(key=value, ..., resume=..., ...) -> folder of the tiny study of the finished pretraining's encoders."""

    def go(*overrides: str, **options: Any) -> Path:
        given = [f"pretraining.run={pretrained}", "name=s", *overrides]
        return run_study(path=study_file, overrides=given, console=Console(quiet=True), **options)

    return go


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, pretrained: Path) -> Path:
    """The folder of one study with two tasks; for reading only."""
    folder = tmp_path_factory.mktemp("finished")
    path = folder / "study.yaml"
    tasks = {**STUDY["tasks"], "malignancy": {"task": CLASSIFICATION, "core": True}}
    content = {**STUDY, "tasks": tasks, "name": "s", "runs": str(folder), "pretraining": {"run": str(pretrained)}}
    path.write_text(yaml.safe_dump(content))
    return run_study(path=path, overrides=[], console=Console(quiet=True))
