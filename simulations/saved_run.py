"""Reading a finished run back: its numbers, its configuration, and what it was made with."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.errors import CheckpointError, ConfigError
from core.evaluation.document import read_metrics
from core.evaluation.held_out import PatientLosses
from simulations.results import load_result

Settings = dict[str, Any]
"""Values of a configuration by dotted name; a list is one value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedRun:
    """One run as it lies in its folder."""

    folder: Path
    metrics: Mapping[str, Any]
    """The content of `metrics.json`, checked."""
    settings: Settings | None
    """The resolved configuration; None where `config.yaml` is not beside the metrics."""

    @property
    def name(self) -> str:
        """The run's name, one line; it comes from the document and is to be escaped wherever it is shown."""
        return " ".join(str(self.metrics["name"]).split())

    def federated_losses(self) -> dict[str, PatientLosses]:
        """The federated arm's held-out losses by patient, for each training seed; none where its arms are gone."""
        folders = sorted(self.folder.glob("arms/seed-*/federated"))
        found = {folder.parent.name: load_result(folder) for folder in folders}
        return {seed: result[1].test for seed, result in found.items() if result is not None}


def read_run(path: Path) -> SavedRun:
    """A run by its folder or by its `metrics.json`.

    Raises:
        ConfigError: There is none.
        CheckpointError: A file is damaged, or of another version.
    """
    document = path / "metrics.json" if path.is_dir() else path
    metrics = read_metrics(document)
    return SavedRun(folder=document.parent, metrics=metrics, settings=_settings(document.parent / "config.yaml"))


def read_runs(paths: Iterable[Path]) -> list[SavedRun]:
    """Several runs; raises ConfigError, beside what `read_run` raises, where two have one name."""
    runs = [read_run(path) for path in paths]
    if not runs:
        raise ConfigError("no run was given; name the folders of finished runs")
    folders: dict[str, list[str]] = {}
    for run in runs:
        folders.setdefault(run.name, []).append(str(run.folder))
    if twice := [f"{' and '.join(places)} both hold a run called {name}" for name, places in folders.items()
                 if len(places) > 1]:  # fmt: skip
        raise ConfigError([f"{problem}; compare runs of different names" for problem in twice])
    return runs


def versions_of(run: SavedRun) -> dict[str, str]:
    """The torch build and threads that the federation's plan names; empty where the plan is not there."""
    path = min(run.folder.glob("arms/seed-*/federated/server/plan.json"), default=None)
    if path is None:
        return {}
    try:
        environment = json.loads(path.read_bytes())["environment"]
        return {str(name): str(value) for name, value in environment.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy the run's folder again") from error


def _settings(path: Path) -> Settings | None:
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise CheckpointError(f"{path}: holds aliases, which a run never writes; copy the file again")
        content = yaml.safe_load(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({' '.join(str(error).split())}); copy it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds no configuration; copy the file again")
    return flat(content)


def flat(content: Mapping[Any, Any], prefix: str = "") -> Settings:
    """A nested configuration by dotted names; an empty section is one value."""
    found: Settings = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return found
