"""What learns at a hospital: by the plan, the pretraining model on its images, or a task model on its labelled ones."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from client.site import Site
from core.errors import PlanError
from core.federation.plan import Plan
from core.federation.task_section import ENCODER, planned_model, section_of
from core.federation.tensors import Tensors
from core.federation.update import Instruction
from core.models.build import build_model
from core.training.finetune import FineTuning, TuningSummary
from core.training.labelled_source import LabelledSource
from core.training.pretrain import Pretraining, Summary
from core.training.settings import TrainingConfig

Told = Callable[[int, float, int], None]


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A model, its optimizer, and what takes its steps."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    steps: int
    """Of a round."""
    take: Callable[..., Summary | TuningSummary]
    """`run` of the training, with its source."""
    start: Tensors = field(default_factory=dict)
    """The encoder that a fine-tuning starts from, named as in the model; empty for pretraining."""
    travels: frozenset[str] = frozenset()
    """Names of the tensors that come with each instruction."""

    @property
    def still(self) -> Tensors:
        """What stays at the site and is never trained."""
        return {name: value for name, value in self.start.items() if name not in self.travels}

    def check_first(self, instruction: Instruction) -> None:
        """The first round's model must hold the encoder of the plan where that travels; raises PlanError."""
        if instruction.round:
            return
        moved = [name for name, value in self.start.items() if name in self.travels
                 and not np.array_equal(value, instruction.base[name])]  # fmt: skip
        if moved:
            raise PlanError(
                f"the model from the server is refused: {moved[0]} is not that of the encoder that the plan starts from"
            )

    def run(self, *, first: int, on_step: Told, where: str) -> dict[str, float]:
        """Take a round's steps; the metrics of the allow-list (`core.federation.update.METRICS`)."""
        summary = self.take(first=first, steps=self.steps, on_step=on_step, where=where)
        told = {"loss": summary.loss}
        if isinstance(summary, Summary):
            told |= {"spatial": summary.spatial, "frequency": summary.frequency}
        return {**told, "images": float(summary.images), "seconds": summary.seconds}


def learner_for(plan: Plan, site: Site, *, kind: type[Pretraining] = Pretraining) -> Learner:
    """What trains under a plan that the site has approved.

    Raises:
        PlanError: The encoder that the site keeps is not the plan's, or what travels is not what the task trains.
        DataError: The site has nothing to train on.
    """
    return _pretraining(plan, site, kind) if plan.task is None else _fine_tuning(plan, site)


def _pretraining(plan: Plan, site: Site, kind: type[Pretraining]) -> Learner:
    model = build_model(plan.encoder, plan.objective, seed=plan.seed)
    training = kind(model, config=TrainingConfig(**plan.training), total_steps=plan.rounds * plan.local_steps)
    return _learner(training, site.source(plan), plan)


def _fine_tuning(plan: Plan, site: Site) -> Learner:
    start, task = site.start(plan), section_of(plan).task
    model = planned_model(plan, start)
    source = LabelledSource(
        labelled=site.labelled(task), task=task, side=int(plan.encoder["side"]), seed=plan.seed, stream=site.name
    )
    total = plan.rounds * plan.local_steps
    training = FineTuning(model, config=task.tuning, total_steps=total, seed=plan.seed)
    return _learner(training, source, plan, start={f"{ENCODER}{name}": value for name, value in start.items()})


def _learner(training: Pretraining | FineTuning, source: Any, plan: Plan, *, start: Tensors | None = None) -> Learner:
    def take(**options: Any) -> Summary | TuningSummary:
        return training.run(source, **options)

    return Learner(
        model=training.model,
        optimizer=training.optimizer,
        steps=plan.local_steps,
        take=take,
        start=start or {},
        travels=frozenset(plan.tensors),
    )
