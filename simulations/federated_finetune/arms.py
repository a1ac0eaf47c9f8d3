"""The arms: each hospital with its own labels, the federation, the pooled labels; all from one start.

R rounds of H steps at batch B on K hospitals with labels stand against: a hospital alone, R H steps at B; pooled, R H
steps at K B (`centralized_wide`) and K R H steps at B (`centralized_long`), which is as many images as the federation
takes. The last state of every arm is scored: none is chosen on validation patients, since a federation has none.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.data.labelled import Labelled
from core.evaluation.arms import LOCAL
from core.evaluation.downstream import Chooser
from core.federation.task_section import planned_model, section_of
from core.federation.tensors import ENCODER, Tensors, load_state
from core.models.task_model import TaskModel
from core.training.finetune import FineTuning
from core.training.labelled_source import LabelledSource
from server.state import Store
from server.task_study import TaskPlan, TaskStudyConfig, make_task_plan, task_study_to_json
from simulations.arm_training import Rounds, in_segments, of_federation
from simulations.backends import federate
from simulations.deadline import Deadline
from simulations.display import Display
from simulations.federated_finetune.config import FederatedFinetuneConfig
from simulations.federated_finetune.data import TaskData
from simulations.federated_finetune.results import TaskScores, load_arm, save_arm, score
from simulations.prepare import node_configs
from simulations.results import Trained

START_FILE = "start.safetensors"
"""In the run's folder: the encoder that was given to start from."""


def study_of(config: FederatedFinetuneConfig, *, seed: int) -> TaskStudyConfig:
    """What the consortium decides, with one training seed."""
    return TaskStudyConfig(
        name=config.name, seed=seed, encoder=config.encoder, task=config.task, federation=config.federation
    )


def plan_of(config: FederatedFinetuneConfig, data: TaskData, *, seed: int, start: Tensors | None) -> TaskPlan:
    """The federation's plan, made before any training; the sites tell the server the same counts."""
    name = config.task.name
    patients = {site: len(set(own.patients_N.tolist())) for site, own in data.hospitals.items()}
    counts = {site: {name: patients.get(site, 0)} for site in data.prepared.hospitals}
    return make_task_plan(study_of(config, seed=seed), counts, start=start)


@dataclass(frozen=True, kw_only=True)
class TaskBench:
    """What the arms of one training seed work with."""

    config: FederatedFinetuneConfig
    data: TaskData
    planned: TaskPlan
    display: Display
    folder: Path
    """The run's folder."""
    given: bool = False
    """Whether an encoder was given to start from; it then lies in the run's folder."""
    reinstate: tuple[str, ...] = ()
    """Hospitals whose quarantine a person has lifted."""
    deadline: Deadline = field(default_factory=Deadline)

    @property
    def seed(self) -> int:
        """The training seed."""
        return self.planned.plan.seed

    @property
    def arms(self) -> Path:
        """Where each arm of this seed has its folder."""
        return self.folder / "arms" / f"seed-{self.seed}"

    def names(self) -> Iterator[str]:
        """The arms, in the order of training."""
        yield from (f"{LOCAL}{site}" for site in sorted(self.data.hospitals))
        yield from ("federated", "centralized_wide", "centralized_long")

    def run(self, name: str) -> tuple[Trained, TaskScores]:
        """Train and score one arm and keep the result; a finished one stays as it is."""
        folder = self.arms / name
        if (found := load_arm(folder)) is not None:
            return found
        self.deadline.check(f"the start of {name}")
        trained = self._train(name, folder)
        config, side = self.config, self.config.encoder.side
        chooser = Chooser(self.data.validation, task=config.task, side=side, seed=config.seed, batch=config.batch)
        scores = score(self.model(trained.model), chooser, self.data.test, task=config.task, batch=config.batch)
        save_arm(folder, trained, scores)
        return trained, scores

    def model(self, state: Tensors | None = None) -> TaskModel:
        """The plan's task model, at the start or with these weights."""
        model = planned_model(self.planned.plan, self.planned.start)
        if state is not None:
            load_state(model, state)
        return model

    def _train(self, name: str, folder: Path) -> Trained:
        steps, batch = self.config.federation.local_steps, self.config.task.tuning.batch
        hospitals = len(self.data.hospitals)
        if name == "federated":
            return self._federated(folder)
        if name == "centralized_wide":
            return self._alone(folder, self.data.pooled, stream=name, segment=steps, batch=batch * hospitals)
        if name == "centralized_long":
            return self._alone(folder, self.data.pooled, stream=name, segment=steps * hospitals, batch=batch)
        site = name.removeprefix(LOCAL)
        return self._alone(folder, self.data.hospitals[site], stream=site, segment=steps, batch=batch)

    def _federated(self, folder: Path) -> Trained:
        """The real `ClientApp` and `ServerApp` over every hospital, those without labels too."""
        config, rounds = self.config, self.config.federation.rounds
        steps, store = config.federation.local_steps * len(self.data.hospitals), Store(folder / "server")
        with self.display.arm(self._label("federated"), steps=rounds * steps) as progress:
            federate(
                config.sim,
                nodes=node_configs(
                    config.simulation(), self.data.prepared, manifests=self.folder / "sites", folder=folder / "sites"
                ),
                run_config={
                    "study": json.dumps(task_study_to_json(study_of(config, seed=self.seed))),
                    "folder": str(store.folder),
                    "reinstate": ",".join(self.reinstate),
                    "start": str(self.folder / START_FILE) if self.given else "",
                },
                observer=Rounds(progress, total=rounds, steps=steps, deadline=self.deadline),
                on_step=lambda _site, _step, loss, images: progress.step(loss, images),
            )
        return of_federation(
            store,
            images=config.federation.local_steps * config.task.tuning.batch,
            still={f"{ENCODER}{name}": value for name, value in self.planned.start.items()},
        )

    def _alone(self, folder: Path, labelled: Labelled, *, stream: str, segment: int, batch: int) -> Trained:
        """One place's labelled images, R segments of `segment` steps at `batch`."""
        plan, total = self.planned.plan, self.config.federation.rounds * segment
        task = section_of(plan).task
        tuning = replace(task.tuning, batch=batch)
        side = self.config.encoder.side
        source = LabelledSource(labelled=labelled, task=task, side=side, seed=self.seed, stream=stream)
        training = FineTuning(self.model(), config=tuning, total_steps=total, seed=self.seed)
        label = stream if stream.startswith("centralized") else f"{stream} alone"
        return in_segments(
            training,
            source,
            path=folder / "snapshot.safetensors",
            segment=segment,
            batch=batch,
            display=self.display,
            shown=self._label(label),
            deadline=self.deadline,
            label=label,
            where=label,
        )

    def _label(self, label: str) -> str:
        return f"{label}, seed {self.seed}" if len(self.config.seeds) > 1 else label
