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
from core.federation.task_section import planned_model, section_of
from core.federation.tensors import ENCODER, Tensors
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
    still: Tensors = field(default_factory=dict)
    """What stays at the site and is never trained: of the encoder that a fine-tuning starts from, what is frozen."""

    def run(self, *, first: int, on_step: Told, where: str) -> dict[str, float]:
        """Take a round's steps; the metrics of the allow-list (`core.federation.update.METRICS`)."""
        summary = self.take(first=first, steps=self.steps, on_step=on_step, where=where)
        told = {"loss": summary.loss}
        if isinstance(summary, Summary):
            told |= {"spatial": summary.spatial, "frequency": summary.frequency}
        return {**told, "images": float(summary.images), "seconds": summary.seconds}


def check_first(instruction: Instruction, plan: Plan, site: Site) -> None:
    """The first round's model holds the encoder that a fine-tuning starts from, where that travels; or PlanError."""
    if plan.task is None or instruction.round:
        return
    for name, value in site.start(plan).items():
        sent = instruction.base.get(f"{ENCODER}{name}")
        if sent is not None and not np.array_equal(sent, value):
            raise PlanError(
                f"the model from the server is refused: {ENCODER}{name} is not that of the encoder that the plan "
                "starts from"
            )


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
    named = {f"{ENCODER}{name}": value for name, value in start.items()}
    model = planned_model(plan, start)
    source = LabelledSource(
        labelled=site.labelled(task), task=task, side=int(plan.encoder["side"]), seed=plan.seed, stream=site.name
    )
    total = plan.rounds * plan.local_steps
    training = FineTuning(model, config=task.tuning, total_steps=total, seed=plan.seed)
    return _learner(training, source, plan, still={n: v for n, v in named.items() if n not in plan.tensors})


def _learner(training: Pretraining | FineTuning, source: Any, plan: Plan, *, still: Tensors | None = None) -> Learner:
    def take(**options: Any) -> Summary | TuningSummary:
        return training.run(source, **options)

    return Learner(
        model=training.model,
        optimizer=training.optimizer,
        steps=plan.local_steps,
        take=take,
        still=still or {},
    )
