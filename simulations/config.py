"""The configuration of one simulated federation, and of the comparison of its arms."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec

from core.data.augmentation import AugmentationConfig
from core.errors import ConfigError
from core.evaluation.finetune import FinetuneConfig
from core.models.encoder import EncoderConfig
from core.objectives.dual_mim import ObjectiveConfig
from core.training.settings import TrainingConfig
from server.study import FederationConfig
from simulations.partition import PartitionConfig

ARMS = ("random_init", "local", "fedavg", "federated", "centralized")
BACKENDS = ("in_process", "workers", "ray")
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class PhantomConfig:
    """The built-in data set."""

    patients_per_organ: int = 60
    """Patients an organ, over all devices."""
    frames: int = 2
    """Frames a patient."""
    side: int = 128
    """Pixels on a side of the generated images."""
    devices: int = 4
    """Device profiles, one a hospital."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        found = [
            f"data.phantom.{name} must be at least {least}, got {getattr(self, name)}"
            for name, least in (("patients_per_organ", 1), ("frames", 1), ("side", 32), ("devices", 1))
            if getattr(self, name) < least
        ]
        if found:
            raise ConfigError(found)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, and who is held out."""

    manifest: str = "phantom"
    """Path of a manifest (CSV or Parquet), or `phantom` for the built-in data set."""
    cache: str = "data/cache"
    """Folder of pre-decoded images, shared by runs."""
    side: int = 80
    """Pixels on a side of the cached images; crops are taken from them."""
    test: float = 0.25
    """Part of the patients seen by no arm, for evaluation."""
    validation: float = 0.1
    """Part of the patients for choosing (best hospital, probe settings), seen by no arm."""
    phantom: PhantomConfig = field(default_factory=PhantomConfig)

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        found = []
        if not 8 <= self.side <= 2048:
            found.append(f"data.side must lie in [8, 2048], got {self.side}")
        if not (0 < self.test < 1 and 0 < self.validation < 1 and self.test + self.validation < 1):
            found.append(f"data.test {self.test} and data.validation {self.validation} must be positive, sum below 1")
        if found:
            raise ConfigError(found)


@dataclass(kw_only=True)  # not frozen: OmegaConf cannot fill frozen values of a dictionary
class TaskConfig:
    """One probe: which labels of which images."""

    dataset: str = ""
    """The manifest's `dataset` value."""
    column: str = "label"
    """label or organ."""
    organ: str = ""
    """Only images of this organ; empty for all."""
    classes: list[str] = field(default_factory=list)
    """Values of the column, in order; others are left out. `a|b` merges two."""


@dataclass(kw_only=True)  # not frozen, as TaskConfig
class SegmentationConfig(FinetuneConfig):
    """One segmentation task: whose masks, for how many labelled patients; and how encoder and head are fine-tuned."""

    dataset: str = ""
    """The manifest's `dataset` value; empty for all. Images without a mask are left out."""
    organ: str = ""
    """Only images of this organ; empty for all."""
    budgets: list[int] = field(default_factory=lambda: [8, 32])
    """Labelled patients to fine-tune on, one score each; empty for the frozen encoder's score alone."""

    def __post_init__(self) -> None:
        """Nothing: `EvaluationConfig` checks its tasks, since it knows their names."""

    def problems(self) -> Iterator[str]:
        """What is out of its range, one sentence a field."""
        yield from super().problems()
        if any(budget < 1 for budget in self.budgets) or len(set(self.budgets)) != len(self.budgets):
            yield f"budgets must be different numbers of at least 1, got {list(self.budgets)}"


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How the arms are compared."""

    on: str = "test"
    """test, or validation: patients for choosing a regime, so that a search never looks at test patients."""
    masks: int = 2
    """Fixed corruptions of each held-out image."""
    batch: int = 128
    """Images a forward pass."""
    bootstrap: int = 2000
    """Draws of the paired bootstrap over patients."""
    tasks: dict[str, TaskConfig] = field(default_factory=dict)
    """Probes by name."""
    segmentation: dict[str, SegmentationConfig] = field(default_factory=dict)
    """Segmentation tasks by name; a name may stand among `tasks` too."""
    random_inits: int = 1
    """Random initializations that the scores of `random_init` are the mean over."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        if found := list(self._problems()):
            raise ConfigError(found)

    def _problems(self) -> Iterator[str]:
        if self.on not in ("test", "validation"):
            yield f"evaluation.on must be test or validation, got {self.on!r}"
        for name, least in (("masks", 1), ("batch", 1), ("bootstrap", 100), ("random_inits", 1)):
            if getattr(self, name) < least:
                yield f"evaluation.{name} must be at least {least}, got {getattr(self, name)}"
        for name, task in self.tasks.items():
            if task.column not in ("label", "organ"):
                yield f"evaluation.tasks.{name}.column must be label or organ, got {task.column!r}"
            if len(task.classes) < 2:
                yield f"evaluation.tasks.{name}.classes must name two classes or more"
        for name, segmentation in self.segmentation.items():
            yield from (f"evaluation.segmentation.{name}.{problem}" for problem in segmentation.problems())


@dataclass(frozen=True, kw_only=True)
class SimConfig:
    """Where the work of a run is done. Nothing of its result depends on this."""

    backend: str = "in_process"
    """in_process (one hospital after the other), workers (processes of this machine) or ray (needs the extra `ray`)."""
    workers: int = 2
    """Processes of the backends workers and ray, each with `threads` threads of torch."""
    gpus_each: float = 0.0
    """Part of a GPU that each process of the backend ray may take; 0 trains on the CPU."""
    arms_at_once: int = 1
    """Arms trained at the same time, each in a process of its own when more than 1."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        if found := list(self._problems()):
            raise ConfigError(found)

    def _problems(self) -> Iterator[str]:
        if self.backend not in BACKENDS:
            yield f"sim.backend must be one of {', '.join(BACKENDS)}, got {self.backend!r}"
        if self.backend == "ray" and find_spec("ray") is None:
            yield "sim.backend ray needs Ray, which is not installed; pip install '.[ray]', or take sim.backend=workers"
        for name in ("workers", "arms_at_once"):
            if not 1 <= getattr(self, name) <= 256:
                yield f"sim.{name} must lie in [1, 256], got {getattr(self, name)}"
        if not 0 <= self.gpus_each <= 8:
            yield f"sim.gpus_each must lie in [0, 8], got {self.gpus_each}"


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """One run."""

    name: str = "simulation"
    """Folder below `runs`."""
    runs: str = "runs"
    """Where runs are kept."""
    seed: int = 0
    """Public seed of the data: phantom, who is held out, hospitals, held-out corruptions, bootstrap."""
    seeds: list[int] = field(default_factory=list)
    """Training seeds (weights, draws, augmentation, masks): every arm is trained once with each; empty: `seed`."""
    threads: int = 2
    """CPU threads of torch; part of what fixes every bit."""
    arms: list[str] = field(default_factory=lambda: list(ARMS))
    data: DataConfig = field(default_factory=DataConfig)
    partition: PartitionConfig = field(default_factory=PartitionConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    federation: FederationConfig = field(default_factory=FederationConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    sim: SimConfig = field(default_factory=SimConfig)
    warm_start: str = ""
    """A finished run's folder: every arm of ours starts from its `centralized` arm in place of random weights."""
    skip: dict[str, list[int]] = field(default_factory=dict)
    """Rounds that a hospital sits out, for example `{north: [3, 4]}`."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        found = []
        if not RUN_NAME.fullmatch(self.name):
            found.append(f"name must be 1 to 64 letters, digits, dots, dashes or underscores, got {self.name!r}")
        if not 1 <= self.threads <= 256:
            found.append(f"threads must lie in [1, 256], got {self.threads}")
        if unknown := [arm for arm in self.arms if arm not in ARMS]:
            found.append(f"arms: {', '.join(unknown)} is none of {', '.join(ARMS)}")
        if self.training.devices != 1:
            found.append(f"training.devices must be 1 where hospitals share a machine, got {self.training.devices}")
        if not self.arms:
            found.append(f"arms must name at least one of {', '.join(ARMS)}")
        if len(set(self.seeds)) != len(self.seeds):
            found.append(f"seeds must differ from one another, got {self.seeds}")
        if found:
            raise ConfigError(found)

    @property
    def training_seeds(self) -> list[int]:
        """The seeds that arms are trained with, in order."""
        return list(self.seeds) or [self.seed]

    @property
    def initial_seeds(self) -> list[int]:
        """Further seeds of which only the random weights are scored, so that there are `evaluation.random_inits`."""
        taken = self.training_seeds
        fresh = (seed for seed in itertools.count() if seed not in taken)
        return list(itertools.islice(fresh, max(0, self.evaluation.random_inits - len(taken))))
