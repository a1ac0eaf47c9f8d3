"""What every cell of a study works with: its configuration, its images and who is held out, its tasks."""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import config as configuration
from core.data.labelled import Labelled, labelled_images, labelled_rows
from core.errors import ConfigError
from core.evaluation.label_efficiency.budgets import Undefined, nested_budgets, strata_of
from core.seeding import derive
from core.training.task import Task
from simulations.config import SimulationConfig
from simulations.label_efficiency.config import FLOOR, LabelEfficiencyConfig
from simulations.prepare import Prepared, Progress, prepare
from simulations.saved_run import flat, read_run

SPLITS = ("train", "validation", "test")
STUDY_FILE, PRETRAINING_FILE, TASKS_FOLDER = "config.yaml", "pretraining.yaml", "tasks"
"""In a study's folder: resolved configurations, which a process of the study and a resumed one read again."""
TRAINED = {"local": "local", "local_best": "local", "federated": "federated", "centralized": "centralized"}
"""An arm of the study to the arm of the simulation that trains its encoders."""


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """One task and its images."""

    task: Task
    train: Labelled
    validation: Labelled
    test: Labelled
    spacing_N2: NDArray[np.float64]
    """Millimetres a pixel of the test images as cached (down, across); NaN where the manifest does not say."""
    strata: dict[str, str]
    """Labelled training patient to the class (classification) or label that budgets hold in proportion."""

    def labelled(self, budgets: Sequence[Any], *, seed: int) -> dict[Any, list[str] | Undefined]:
        """Who is labelled with each budget; the same for every arm."""
        classes = self.task.classes if self.task.kind == "classification" else ()
        return nested_budgets(self.strata, budgets=budgets, seed=seed, classes=classes)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A study after its configuration and data were found good."""

    config: LabelEfficiencyConfig
    folder: Path
    simulation: SimulationConfig
    """Of the pretraining: encoder, splits, hospitals, training seeds."""
    prepared: Prepared
    tasks: dict[str, Task]
    texts: dict[str, str]
    """File below the study's folder to its content: all that `opened` reads."""

    @functools.cached_property
    def digest(self) -> str:
        """Of images, masks, labels, splits and hospitals."""
        return self.prepared.digest

    @functools.cached_property
    def data(self) -> dict[str, TaskData]:
        """Every task's images."""
        return {name: self._data(task) for name, task in self.tasks.items()}

    def labelled(self, task: str, *, draw: int) -> dict[Any, list[str] | Undefined]:
        """Budget to the labelled patients of a draw, or why there are none."""
        budgets = list(dict.fromkeys([*self.config.budgets_of(task), self.config.selection_budget]))
        return self.data[task].labelled(budgets, seed=self.seed(task, "labelled", draw))

    def seed(self, *path: str | int) -> int:
        """A seed of the study for one purpose; no arm's name may stand in it."""
        return derive(self.config.seed, STUDY_FILE, *path)

    def _data(self, task: Task) -> TaskData:
        manifest, cache, rows = self.prepared.manifest, self.prepared.cache, self.prepared.rows
        parts = {split: labelled_images(task, manifest, cache, rows(split)) for split in SPLITS}
        return TaskData(
            task=task,
            **parts,
            spacing_N2=cache.spacing(labelled_rows(task, manifest, rows("test"))),
            strata=self._strata(task, parts["train"]),
        )

    def _strata(self, task: Task, train: Labelled) -> dict[str, str]:
        """Each patient's class or label."""
        patients = train.patients_N.tolist()
        if train.labels_N is not None:
            return strata_of(zip(patients, (task.classes[number] for number in train.labels_N), strict=True))
        records = [self.prepared.manifest.records[row] for row in self.prepared.rows("train")]
        held = set(patients)
        return strata_of((record.patient, record.label) for record in records
                         if record.patient in held and task.dataset in ("", record.dataset))  # fmt: skip


def open_bench(config: LabelEfficiencyConfig, text: str, *, folder: Path, progress: Progress) -> Bench:
    """Read all that a study is made of; nothing of the study is written.

    Raises:
        UsfmError: Whatever is wrong with the pretraining's configuration or run, the tasks or the data.
    """
    tasks, task_texts = _tasks(config)
    simulation, pretraining = pretraining_of(config, folder=folder)
    return Bench(
        config=config,
        folder=folder,
        simulation=simulation,
        prepared=prepare(simulation, progress=progress),
        tasks=tasks,
        texts={STUDY_FILE: text, PRETRAINING_FILE: pretraining, **task_texts},
    )


@functools.cache
def opened(folder: Path) -> Bench:
    """The bench again in another process, from what the study's folder holds."""
    config, _ = configuration.load(LabelEfficiencyConfig, path=folder / STUDY_FILE, overrides=())
    simulation, _ = configuration.load(SimulationConfig, path=folder / PRETRAINING_FILE, overrides=())
    tasks = {name: configuration.load(Task, path=folder / TASKS_FOLDER / f"{name}.yaml", overrides=())[0]
             for name in config.chosen}  # fmt: skip
    prepared = prepare(simulation, progress=lambda *_: None)
    return Bench(config=config, folder=folder, simulation=simulation, prepared=prepared, tasks=tasks, texts={})


def pretraining_of(config: LabelEfficiencyConfig, *, folder: Path) -> tuple[SimulationConfig, str]:
    """The simulation that makes, or has made, the encoders, with the study's images; and its resolved text."""
    own = config.pretraining
    if own.run:
        read_run(Path(own.run))  # says what is missing where the run has not ended
        path, overrides = Path(own.run) / "config.yaml", []
    else:
        path, overrides = found(own.config), list(own.overrides)
        arms = dict.fromkeys(TRAINED[arm] for arm in config.arms if arm != FLOOR)
        overrides += ["name=pretraining", f"runs={json.dumps(str(folder))}"]
        overrides += [f"arms=[{','.join(arms)}]"] if arms else []
    overrides += [f"data.manifest={json.dumps(config.data.manifest)}"] if config.data.manifest else []
    overrides += [f"data.cache={json.dumps(config.data.cache)}"] if config.data.cache else []
    try:
        return configuration.load(SimulationConfig, path=path, overrides=overrides)
    except ConfigError as error:
        raise ConfigError(error.problems, title="pretraining") from error


def found(path: str) -> Path:
    """A file as given, else below the folder that holds the shipped `configs`."""
    shipped = Path(str(files("configs"))).parent / path
    return shipped if shipped.exists() and not Path(path).exists() else Path(path)


def _tasks(config: LabelEfficiencyConfig) -> tuple[dict[str, Task], dict[str, str]]:
    """Every task and its resolved text by its file; raises ConfigError with the problems of all."""
    tasks, texts, problems = {}, {}, []
    for name, own in config.chosen.items():
        inline = own.task if isinstance(own.task, dict) else {}
        fields = [f"{key}={json.dumps(value)}" for key, value in flat(inline).items()]
        overrides = [*fields, *own.overrides, f"name={name}"]
        path = None if inline else found(str(own.task))
        try:
            tasks[name], texts[f"{TASKS_FOLDER}/{name}.yaml"] = configuration.load(Task, path=path, overrides=overrides)
        except ConfigError as error:
            problems += [f"tasks.{name}: {problem}" for problem in error.problems]
    problems += [f"tasks.{name}: tuning.patience must be 0 here, since every arm gets the same steps"
                 for name, task in tasks.items() if task.tuning.patience]  # fmt: skip
    problems += [f"tasks.{name}.core: an enhancement's decibels cannot be added to scores from 0 to 1; leave core out"
                 for name, task in tasks.items() if task.kind == "enhancement" and config.tasks[name].core]  # fmt: skip
    if problems:
        raise ConfigError(problems)
    return tasks, texts
