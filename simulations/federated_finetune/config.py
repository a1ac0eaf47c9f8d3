"""The configuration of one simulated federated fine-tuning."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from core.errors import ConfigError
from core.models.encoder import EncoderConfig
from core.training.task import Task, TuningConfig
from server.study import FederationConfig
from simulations.config import DataConfig, SimConfig, SimulationConfig
from simulations.partition import PartitionConfig

STUDY = "federated_finetune"


@dataclass(frozen=True, kw_only=True)
class StartConfig:
    """The encoder that every arm starts from; nothing given is random weights by the training seed."""

    run: str = ""
    """Folder of a finished run (`simulations/run.py`); the arm of its first training seed is taken."""
    arm: str = "federated"
    """Which of its arms."""
    weights: str = ""
    """A file of encoder weights (`core.models.weights`), in place of a run."""

    def __post_init__(self) -> None:
        """A start has one source; raises ConfigError."""
        if self.run and self.weights:
            raise ConfigError("start.run and start.weights are two starts; give one of them")


@dataclass(frozen=True, kw_only=True)
class FederatedFinetuneConfig:
    """One run."""

    study: str = STUDY
    """federated_finetune; tells the command which study a configuration is of."""
    name: str = STUDY
    """Folder below `runs`."""
    runs: str = "runs"
    """Where runs are kept."""
    seed: int = 0
    """Public seed of the data: who is held out, hospitals, bootstrap."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Training seeds (head, draws, augmentation; the encoder where no start is given); at least one."""
    threads: int = 1
    """CPU threads of torch; part of what fixes every bit."""
    data: DataConfig = field(default_factory=DataConfig)
    partition: PartitionConfig = field(default_factory=PartitionConfig)
    without_labels: list[str] = field(default_factory=list)
    """Hospitals whose manifests get no masks and no labels."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    start: StartConfig = field(default_factory=StartConfig)
    task: Task = field(default_factory=Task)
    """`tuning.steps` follow from the federation: rounds times local steps."""
    federation: FederationConfig = field(default_factory=FederationConfig)
    bootstrap: int = 2000
    """Draws of the paired bootstrap over patients and training seeds; at least 100."""
    batch: int = 128
    """Images a forward pass when scoring; at least 1."""
    sim: SimConfig = field(default_factory=SimConfig)

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError with every problem."""
        if found := list(self._problems()):
            raise ConfigError(found)

    def _problems(self) -> Iterator[str]:
        if self.study != STUDY:
            yield f"study must be {STUDY}, got {self.study!r}"
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            yield f"seeds must be one or more different numbers, got {self.seeds}"
        if self.bootstrap < 100:
            yield f"bootstrap must be at least 100, got {self.bootstrap}"
        if self.batch < 1:
            yield f"batch must be at least 1, got {self.batch}"
        if self.task.kind != "segmentation":
            yield f"task.kind must be segmentation, which is what this study scores, got {self.task.kind!r}"
        if self.task.tuning.steps not in (TuningConfig().steps, self.steps):
            yield f"task.tuning.steps is federation.rounds x local_steps = {self.steps} here; leave it out"
        if self.task.tuning.patience:
            yield "task.tuning.patience: no arm is stopped early here, so that all take their steps; leave it out"
        if self.sim.arms_at_once != 1:
            yield f"sim.arms_at_once must be 1 here, got {self.sim.arms_at_once}"
        try:
            self.simulation()
        except ConfigError as error:
            yield from error.problems

    @property
    def steps(self) -> int:
        """Optimizer steps of a hospital, in the federation or alone."""
        return self.federation.rounds * self.federation.local_steps

    def simulation(self) -> SimulationConfig:
        """What the parts that this study shares with pretraining take: data, hospitals, backend."""
        return SimulationConfig(
            name=self.name,
            runs=self.runs,
            seed=self.seed,
            seeds=self.seeds,
            threads=self.threads,
            data=self.data,
            partition=self.partition,
            encoder=self.encoder,
            federation=self.federation,
            sim=self.sim,
        )
