"""What a plan of fine-tuning says beside the rest: the task, the encoder it starts from, who holds no label.

And what follows from it, the same on both sides: the model, which of its tensors travel, how far an update may go.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from core import config as configuration
from core.errors import ConfigError, PlanError
from core.federation.plan import Plan
from core.federation.tensors import Spec, Tensors, digest_of, load_state, problems_with, spec_of, state_of
from core.models.encoder import Encoder, EncoderConfig, build_encoder
from core.models.task_model import TaskModel, build_task_model
from core.training.finetune import freeze, parameter_groups
from core.training.settings import widest_step
from core.training.task import Task, TuningConfig

HEAD = "head."
WIDEST = widest_step(beta1=0.9, beta2=0.999)
"""Of AdamW with its usual decays, in rates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSection:
    """The section `task` of a plan."""

    task: Task
    """Its `tuning.steps` are the plan's rounds times local steps. A federation chooses nothing on validation patients,
    so `tuning.evaluations` and `tuning.patience` do nothing."""
    start: str
    """Digest of the encoder to start from, its tensors named as in `core.models.encoder.Encoder`."""
    without_label: dict[str, str]
    """Sites that sit out, each with the reason."""

    def values(self) -> dict[str, Any]:
        """Plain JSON values, which `section_of` reads."""
        return asdict(self)


def section_of(plan: Plan) -> TaskSection:
    """The section of a plan of fine-tuning; raises PlanError when it is none, or names a site of the plan."""
    values = plan.task
    try:
        if not isinstance(values, dict) or set(values) != {"task", "start", "without_label"}:
            raise PlanError("plan: the section task needs task, start and without_label")
        section = TaskSection(
            task=task_from(values["task"]), start=values["start"], without_label=values["without_label"]
        )
    except ConfigError as error:
        raise PlanError(error.problems, title="plan") from error
    reasons = section.without_label
    texts = [section.start, *reasons.values()] if isinstance(reasons, dict) else [reasons]
    if not all(isinstance(text, str) for text in texts) or not isinstance(reasons, dict):
        raise PlanError("plan: task.start must be a digest and task.without_label a reason for each site")
    if both := sorted(set(reasons) & set(plan.weights)):
        raise PlanError(f"plan: {', '.join(both)} has a weight and stands in task.without_label too")
    return section


def task_to_json(task: Task) -> str:
    """One task as a document, which `task_from_json` reads."""
    return json.dumps(asdict(task), sort_keys=True, allow_nan=False)


def task_from_json(document: str) -> Task:
    """A task from its document; raises ConfigError."""
    try:
        values = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"task: not JSON ({error})") from error
    return task_from(values)


def task_from(values: Any) -> Task:
    """A task from plain values that say every field, so that no default of this version stands in for another's.

    Raises:
        ConfigError: With every problem of the keys and the values.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"task is {type(values).__name__}, not a section")
    task = configuration.from_mapping(Task, values, source="task")
    if asdict(task) != values:
        raise ConfigError("task: a field is not said, or not in its plain form; client and server versions differ")
    return task


def task_model(encoder: Encoder, task: Task, *, seed: int) -> TaskModel:
    """Encoder and fresh head, with what the task's tuning leaves alone frozen; raises ConfigError."""
    model = build_task_model(encoder, task, seed=seed)
    freeze(model, task.tuning)
    return model


def travelling(model: TaskModel) -> Spec:
    """The shapes of what travels each round: the head, and those of the encoder's tensors that are trained."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return spec_of({name: v for name, v in state_of(model).items() if name.startswith(HEAD) or name in trained})


def tuning_bound(model: TaskModel, tuning: TuningConfig, *, steps: int) -> float:
    """An L2 bound that no honest round of `steps` steps exceeds, in parameter units; 1.5 leaves room for decay.

    As `core.training.settings.update_bound`, each parameter with its own peak rate.
    """
    square = 0.0
    for group in parameter_groups(model, tuning):
        parameters: Any = group["params"]
        square += float(str(group["peak"])) ** 2 * sum(parameter.numel() for parameter in parameters)
    return 1.5 * WIDEST * steps * math.sqrt(square)


def _blank_encoder(plan: Plan) -> Encoder:
    try:
        return build_encoder(configuration.from_mapping(EncoderConfig, plan.encoder, source="plan: encoder"), seed=0)
    except (ConfigError, AttributeError) as error:
        raise PlanError(f"plan: its encoder cannot be built ({error})") from error


def start_problems(plan: Plan, start: Tensors) -> list[str]:
    """Why these tensors are not the encoder that the plan starts from: names, shapes, values, digest; empty if none.

    Raises:
        PlanError: The plan's own sections are malformed.
    """
    found = problems_with(start, spec_of(state_of(_blank_encoder(plan))))
    found += [f"{name} holds NaN or infinity" for name, value in start.items() if not np.isfinite(value).all()]
    if not found and digest_of(start) != (wanted := section_of(plan).start):
        found.append(f"its digest is {digest_of(start)[:12]}, the plan says {wanted[:12]}")
    return found


def planned_model(plan: Plan, start: Tensors) -> TaskModel:
    """The task model of a plan, on its start; raises PlanError when what travels is not what the task trains."""
    task = section_of(plan).task
    encoder = _blank_encoder(plan)
    load_state(encoder, start)
    model = task_model(encoder, task, seed=plan.seed)
    if travelling(model) != plan.tensors:
        raise PlanError(f"plan: its tensors are not those that task {task.name} trains ({task.tuning.encoder})")
    return model
