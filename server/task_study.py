"""From a consortium's task and the hospitals' labelled patients to a plan of fine-tuning and a first model."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from core import __version__
from core.errors import ConfigError, PlanError
from core.federation.organs import Allocation, capped, fedavg
from core.federation.plan import Plan
from core.federation.task_section import TaskSection, task_from, task_model, travelling, tuning_bound
from core.federation.tensors import Tensors, digest_of, load_state, problems_with, spec_of, state_of
from core.models.encoder import Encoder, EncoderConfig, build_encoder
from core.seeding import derive
from core.training.task import Task
from server.study import FederationConfig, environment, federation_from

WEIGHTING = "labelled_patients"
UNUSED = ("tau",)
"""Fields of the federation that mean nothing for one task."""


@dataclass(frozen=True, kw_only=True)
class TaskStudyConfig:
    """What a consortium decides before it knows who has labels."""

    name: str
    seed: int
    encoder: EncoderConfig
    task: Task
    federation: FederationConfig
    """`min_patients` is the floor of labelled patients over all sites; `tau` does nothing and must be left out."""

    def __post_init__(self) -> None:
        """Check that nothing is said that would do nothing; raises ConfigError."""
        if found := list(self._problems()):
            raise ConfigError(found)

    def _problems(self) -> Iterator[str]:
        plain = FederationConfig()
        for name in UNUSED:
            if getattr(self.federation, name) != getattr(plain, name):
                yield f"federation.{name} is of pretraining and means nothing for one task; leave it out"
        if self.task.tuning.patience:
            yield "task.tuning.patience: a federation is not stopped early; leave it out"


class TaskPlan(NamedTuple):
    """A plan of fine-tuning with the tensors that go with it."""

    plan: Plan
    model: Tensors
    """The first global model: what travels each round."""
    start: Tensors
    """The encoder to start from, which travels once, with the plan."""


def task_study_to_json(study: TaskStudyConfig) -> dict[str, Any]:
    """Plain values, which `task_study_from_json` reads."""
    return asdict(study)


def task_study_from_json(values: Mapping[str, Any]) -> TaskStudyConfig:
    """The configuration from plain values; raises ConfigError."""
    return TaskStudyConfig(
        name=values["name"],
        seed=values["seed"],
        encoder=EncoderConfig(**values["encoder"]),
        task=task_from(values["task"]),
        federation=federation_from(values["federation"]),
    )


def make_task_plan(
    study: TaskStudyConfig, counts: Mapping[str, Mapping[str, int]], *, start: Tensors | None = None
) -> TaskPlan:
    """The plan, the first model and the encoder: `start` (named as in `Encoder`), or random weights by the seed.

    Args:
        study: What the consortium decided.
        counts: Labelled patients of each site, under the task's name.
        start: An encoder of this architecture, or None.

    Raises:
        PlanError: Too few labelled patients, a count of something else, or `start` is no encoder of this architecture.
    """
    federation, steps = study.federation, study.federation.rounds * study.federation.local_steps
    task = replace(study.task, tuning=replace(study.task.tuning, steps=steps))
    shares, without = labelled_shares(counts, task=task, floor=federation.min_patients, cap=federation.weight_cap)
    encoder = _encoder(study, start)
    network = task_model(encoder, task, seed=study.seed)
    tensors = travelling(network)
    state = state_of(network)
    beginning = state_of(encoder)
    section = TaskSection(task=task, start=digest_of(beginning), without_label=without)
    bound = federation.norm_bound or tuning_bound(network, task.tuning, steps=federation.local_steps)
    plan = Plan(
        study=study.name,
        seed=study.seed,
        code_version=__version__,
        environment=environment(),
        rounds=federation.rounds,
        local_steps=federation.local_steps,
        encoder=asdict(study.encoder),
        objective={},
        augmentation={},
        training={},
        weighting=WEIGHTING,
        totals=shares.totals,
        unused=shares.unused,
        mix=shares.mix,
        counts={site: dict(counts[site]) for site in sorted(shares.weights)},
        weights=shares.weights,
        draws=shares.draws,
        local_state=federation.local_state,
        server=asdict(federation.server),
        codec=federation.codec,
        norm_bound=bound,
        min_sites=federation.min_sites,
        tensors=tensors,
        task=section.values(),
    )
    return TaskPlan(plan=plan, model={name: state[name] for name in tensors}, start=beginning)


def labelled_shares(
    counts: Mapping[str, Mapping[str, int]], *, task: Task, floor: int, cap: float = 1.0
) -> tuple[Allocation, dict[str, str]]:
    """Weights by labelled patients, w[k] = n[k] / sum n, and the sites without one, each with the reason.

    Raises:
        PlanError: A site counts something else, or fewer than `floor` labelled patients in all.
    """
    if odd := [site for site, held in sorted(counts.items()) if set(held) != {task.name}]:
        raise PlanError([f"site {site} counts {', '.join(sorted(counts[site])) or 'nothing'}, not patients with a "
                         f"label of {task.name}" for site in odd], title="counts")  # fmt: skip
    held = {site: own for site, own in sorted(counts.items()) if own[task.name]}
    total = sum(own[task.name] for own in held.values())
    if total < max(1, floor):
        raise PlanError(
            f"{total} patients of all sites have a label of task {task.name}, fewer than {max(1, floor)}; "
            "look at task.dataset and task.organ, or lower federation.min_patients"
        )
    shares = fedavg(held, min_patients=1)
    without = dict.fromkeys(sorted(set(counts) - set(held)), f"holds no label of task {task.name}")
    return replace(shares, weights=capped(shares.weights, cap=cap)), without


def _encoder(study: TaskStudyConfig, start: Tensors | None) -> Encoder:
    """The start; random weights are those that pretraining with this seed would begin with."""
    encoder = build_encoder(study.encoder, seed=derive(study.seed, "init", "encoder"))
    if start is not None:
        if found := problems_with(start, spec_of(state_of(encoder))):
            raise PlanError(found, title="the encoder to start from")
        load_state(encoder, start)
    return encoder
