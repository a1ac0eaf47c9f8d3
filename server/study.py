"""From a consortium's configuration and the hospitals' counts to a plan and a first model."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from core import __version__
from core.data.augmentation import AugmentationConfig
from core.data.organs import organ_names
from core.errors import ConfigError, PlanError
from core.federation.codec import codec_for
from core.federation.organs import fedavg, organ_aware
from core.federation.plan import LOCAL_STATES, Plan
from core.federation.tensors import Tensors, digest_of, problems_with, spec_of, state_of
from core.models.build import build_model
from core.models.encoder import EncoderConfig
from core.objectives.dual_mim import ObjectiveConfig
from core.training.settings import TrainingConfig, update_bound
from server.optimizer import ServerOptimizerConfig


@dataclass(frozen=True, kw_only=True)
class FederationConfig:
    """How the hospitals work together."""

    rounds: int = 10
    """R, communication rounds."""
    local_steps: int = 20
    """H, optimizer steps at each hospital a round."""
    tau: float = 0.5
    """Exponent of the target mix q ~ N^tau: 0 every organ alike, 1 natural frequencies."""
    min_patients: int = 20
    """Organs held by fewer patients over all hospitals are not used."""
    weight_cap: float = 1.0
    """Largest weight of one hospital."""
    min_sites: int = 2
    """A round with fewer admitted updates does not close."""
    norm_bound: float = 0.0
    """L2 bound on one update; 0 takes the bound that no honest round of AdamW exceeds."""
    codec: str = "exact"
    """exact, bf16 or int8: four, two or about one byte a parameter on the way up."""
    local_state: str = "kept"
    """A hospital's AdamW moments at the start of a round: kept (from its last folded round) or reset (none)."""
    timeout: float = 3600.0
    """Seconds to wait for the replies of a round."""
    server: ServerOptimizerConfig = field(default_factory=ServerOptimizerConfig)

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError with every problem."""
        if found := list(self._problems()):
            raise ConfigError(found)

    def _problems(self) -> Iterator[str]:
        for name in ("rounds", "local_steps", "min_patients", "min_sites"):
            if getattr(self, name) < 1:
                yield f"federation.{name} must be at least 1, got {getattr(self, name)}"
        if not 0 <= self.tau <= 1:
            yield f"federation.tau must lie in [0, 1], got {self.tau}"
        if not 0 < self.weight_cap <= 1:
            yield f"federation.weight_cap must lie in (0, 1], got {self.weight_cap}"
        if self.norm_bound < 0:
            yield f"federation.norm_bound must not be negative, got {self.norm_bound}"
        if not self.timeout > 0:
            yield f"federation.timeout must be positive, got {self.timeout}"
        if self.local_state not in LOCAL_STATES:
            yield f"federation.local_state must be one of {', '.join(LOCAL_STATES)}, got {self.local_state!r}"
        try:
            codec_for(self.codec)
        except PlanError as error:
            yield from (f"federation.codec: {problem}" for problem in error.problems)


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What a consortium decides before it knows the counts."""

    name: str
    seed: int
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    federation: FederationConfig = field(default_factory=FederationConfig)
    weighting: str = "organ_aware"
    """organ_aware or fedavg."""

    def __post_init__(self) -> None:
        """An unknown weighting is an error, never a default."""
        if self.weighting not in ("organ_aware", "fedavg"):
            raise ConfigError(f"weighting must be organ_aware or fedavg, got {self.weighting!r}")


def study_to_json(study: StudyConfig) -> dict[str, Any]:
    """Plain values, which `study_from_json` reads."""
    return asdict(study)


def study_from_json(values: Mapping[str, Any]) -> StudyConfig:
    """The configuration from plain values; raises ConfigError with every problem of every section."""
    kinds: dict[str, Callable[[], Any]] = {
        "encoder": lambda: EncoderConfig(**values["encoder"]),
        "objective": lambda: ObjectiveConfig(**values["objective"]),
        "augmentation": lambda: AugmentationConfig(**values["augmentation"]),
        "training": lambda: TrainingConfig(**values["training"]),
        "federation": lambda: federation_from(values["federation"]),
    }
    sections: dict[str, Any] = {}
    problems: list[str] = []
    for name, make in kinds.items():
        try:
            sections[name] = make()
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems, title="study")
    return StudyConfig(name=values["name"], seed=values["seed"], weighting=values["weighting"], **sections)


def federation_from(values: Mapping[str, Any]) -> FederationConfig:
    """The federation's section from plain values; raises ConfigError with every problem, the server's too."""
    plain = {name: value for name, value in values.items() if name != "server"}
    problems: list[str] = []
    for make in (lambda: ServerOptimizerConfig(**values["server"]), lambda: FederationConfig(**plain)):
        try:
            make()
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    return FederationConfig(**plain, server=ServerOptimizerConfig(**values["server"]))


def make_plan(
    study: StudyConfig, counts: Mapping[str, Mapping[str, int]], *, start: Tensors | None = None
) -> tuple[Plan, Tensors]:
    """The plan and the first global model: `start`, or random weights by the study's seed.

    Raises:
        PlanError: No organ reaches the floor, a hospital has nothing to train on, a count names no organ, or `start` is
            no model of this architecture.
    """
    _check_organs(counts)
    federation = study.federation
    if study.weighting == "fedavg":
        shares = fedavg(counts, min_patients=federation.min_patients)
    else:
        floor, cap = federation.min_patients, federation.weight_cap
        shares = organ_aware(counts, tau=federation.tau, min_patients=floor, cap=cap)
    sections = study_to_json(study)
    model = _first_model(sections, seed=study.seed, start=start)
    parameters = sum(value.size for value in model.values())
    bound = federation.norm_bound or update_bound(study.training, steps=federation.local_steps, parameters=parameters)
    plan = Plan(
        study=study.name,
        seed=study.seed,
        code_version=__version__,
        environment=environment(start),
        rounds=federation.rounds,
        local_steps=federation.local_steps,
        encoder=sections["encoder"],
        objective=sections["objective"],
        augmentation=sections["augmentation"],
        training=sections["training"],
        weighting=study.weighting,
        totals=shares.totals,
        unused=shares.unused,
        mix=shares.mix,
        counts={site: dict(held) for site, held in sorted(counts.items())},
        weights=shares.weights,
        draws=shares.draws,
        local_state=federation.local_state,
        server=sections["federation"]["server"],
        codec=federation.codec,
        norm_bound=bound,
        min_sites=federation.min_sites,
        tensors=spec_of(model),
    )
    return plan, model


def _first_model(sections: Mapping[str, Any], *, seed: int, start: Tensors | None) -> Tensors:
    model = state_of(build_model(sections["encoder"], sections["objective"], seed=seed))
    if start is None:
        return model
    if found := problems_with(start, spec_of(model)):
        raise PlanError(found, title="the model to start from")
    return start


def environment(start: Tensors | None = None) -> dict[str, Any]:
    """What fixes every bit beside the seed: torch, threads, and the model that was given to start from."""
    found = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    return found if start is None else {**found, "start": digest_of(start)}


def _check_organs(counts: Mapping[str, Mapping[str, int]]) -> None:
    known = set(organ_names())
    found = [
        f"site {site} counts patients with {organ!r}, which is no organ of configs/organs.yaml"
        for site, held in sorted(counts.items())
        for organ in sorted(held)
        if organ not in known
    ]
    if found:
        raise PlanError(found, title="counts")
