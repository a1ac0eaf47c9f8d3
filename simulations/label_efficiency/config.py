"""The configuration of a label-efficiency study: which encoders, which tasks, how many labelled patients."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from core.errors import ConfigError
from simulations.config import RUN_NAME
from simulations.label_efficiency import STUDY

FLOOR, LOCAL_ARM, LOCAL_BEST = "random_init", "local", "local_best"
ARMS = (FLOOR, LOCAL_ARM, LOCAL_BEST, "federated", "centralized")
PUBLIC = "public:"
"""What stands before the name of an arm of given weights."""
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Names that become folders."""


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """Whose images; how they are divided is the pretraining's, so that no arm has seen a test patient."""

    manifest: str = ""
    """Path of a manifest, `phantom`, or empty for the pretraining's own."""
    cache: str = ""
    """Folder of pre-decoded images, shared by runs; empty for the pretraining's own."""


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """Where the encoders come from: a finished run, or one that the study makes in its folder."""

    config: str = "configs/simulation/real.yaml"
    """A simulation's YAML file; as given, or below the folder that holds the shipped `configs`."""
    overrides: list[str] = field(default_factory=list)
    """key=value for it."""
    run: str = ""
    """Folder of a finished run to take the encoders of; then `config` and `overrides` are not used."""
    digests: dict[str, str] = field(default_factory=dict)
    """Encoder, as `encoders.json` names it, to the SHA-256 that it must have; one that is not named may have any."""


@dataclass(kw_only=True)  # not frozen: OmegaConf cannot fill frozen values of a dictionary
class StudyTask:
    """One task of the study."""

    task: Any = ""
    """A task's YAML file (found like `pretraining.config`), or its fields."""
    overrides: list[str] = field(default_factory=list)
    """key=value for it, for example tuning.steps=100."""
    budgets: list[Any] = field(default_factory=list)
    """Labelled patients, numbers or `all`; empty takes the study's. A core task takes the study's."""
    core: bool = False
    """Whether it counts for the headline."""


@dataclass(frozen=True, kw_only=True)
class ConvergenceConfig:
    """How the optimizer steps of a task are found (`simulations.label_efficiency.convergence`)."""

    max_doublings: int = 3
    """How often the task's steps may be doubled; 0 takes them as they are."""
    draws: int = 2
    """Draws whose mean is compared, at most the study's."""


@dataclass(frozen=True, kw_only=True)
class StudyEvaluation:
    """How scores become intervals."""

    bootstrap: int = 2000
    """Draws of the paired bootstrap over patients and draws; at least 100."""


@dataclass(frozen=True, kw_only=True)
class LabelEfficiencyConfig:
    """One study."""

    study: str = STUDY
    """Tells this file from a simulation's."""
    name: str = "label_efficiency"
    """Folder below `runs`."""
    runs: str = "runs"
    """Where runs are kept."""
    seed: int = 0
    """Of the labelled patients, heads, batches, degradations and bootstrap; the patients held out are the
    pretraining's."""
    threads: int = 1
    """CPU threads of torch in each process; part of what fixes every bit."""
    processes: int = 2
    """Cells at the same time, each in a process of its own when more than 1."""
    data: StudyData = field(default_factory=StudyData)
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    arms: list[str] = field(default_factory=lambda: list(ARMS))
    public: dict[str, str] = field(default_factory=dict)
    """Further arms: a name to a file of weights (`core.models.weights`)."""
    public_side: int = 0
    """Pixels on a side of the images that given weights see; 0 for those that they were trained with."""
    draws: int = 3
    """Draws of labelled patients, each with a fine-tuning seed of its own; 3 or more for a claim."""
    budgets: list[Any] = field(default_factory=lambda: [8, 32, 128, "all"])
    """Labelled patients, numbers or `all`."""
    selection_budget: Any = 32
    """Budget with which the median and the best hospital are chosen, on validation patients of draw 0."""
    tasks: dict[str, StudyTask] = field(default_factory=dict)
    core_only: bool = False
    """Leave out the tasks that are not core."""
    convergence: ConvergenceConfig = field(default_factory=ConvergenceConfig)
    evaluation: StudyEvaluation = field(default_factory=StudyEvaluation)
    quick: list[str] = field(default_factory=list)
    """key=value that `--quick` adds before those of the command line."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError with every problem."""
        if found := [*self._problems(), *self._task_problems()]:
            raise ConfigError(found)

    def _problems(self) -> Iterator[str]:
        if self.study != STUDY:
            yield f"study must be {STUDY}, got {self.study!r}"
        if not RUN_NAME.fullmatch(self.name):
            yield f"name must be 1 to 64 letters, digits, dots, dashes or underscores, got {self.name!r}"
        places = {"convergence.": self.convergence, "evaluation.": self.evaluation}
        for name, least, most in (
            ("threads", 1, 256), ("processes", 1, 256), ("draws", 2, 1000), ("public_side", 0, 2048),
            ("convergence.max_doublings", 0, 10),
            ("convergence.draws", 1, self.draws), ("evaluation.bootstrap", 100, 10**6),
        ):  # fmt: skip
            section, dot, own = name.rpartition(".")
            value = getattr(places.get(section + dot, self), own)
            if not least <= value <= most:
                yield f"{name} must lie in [{least}, {most}], got {value}"
        if unknown := [arm for arm in self.arms if arm not in ARMS]:
            yield f"arms: {', '.join(unknown)} is none of {', '.join(ARMS)}; other weights go into public.NAME=PATH"
        if FLOOR not in self.arms or len(set(self.arms)) != len(self.arms):
            yield f"arms must hold {FLOOR}, which gains are measured from, and name each arm once, got {self.arms}"
        if odd := [name for name in self.public if not WORD.fullmatch(name)]:
            yield f"public: {', '.join(map(repr, odd))} must be letters, digits, dots, dashes or underscores"
        if bad := [name for name, digest in self.pretraining.digests.items() if not _is_sha256(digest)]:
            yield f"pretraining.digests: {', '.join(bad)} must be 64 hexadecimal digits (encoders.json has them)"

    def _task_problems(self) -> Iterator[str]:
        yield from budget_problems("budgets", self.budgets)
        yield from budget_problems("selection_budget", [self.selection_budget])
        if not any(task.core for task in self.tasks.values()):
            yield "tasks must hold a core task at least; give tasks.NAME={task: FILE, core: true}"
        for name, task in self.tasks.items():
            if not WORD.fullmatch(name):
                yield f"tasks: {name!r} must be letters, digits, dots, dashes or underscores"
            if not task.task or not isinstance(task.task, str | dict):
                yield f"tasks.{name}.task must be a task's YAML file or its fields, got {task.task!r}"
            if task.budgets and task.core and task.budgets != self.budgets:
                yield f"tasks.{name}.budgets: a core task takes the study's budgets; leave it out, or core"
            if task.budgets:
                yield from budget_problems(f"tasks.{name}.budgets", task.budgets)
            strange = [one for one in task.budgets if one not in self.budgets]
            if strange and name in self.chosen:
                yield f"tasks.{name}.budgets: {strange} must stand among the study's, {self.budgets}"

    @property
    def chosen(self) -> dict[str, StudyTask]:
        """The tasks that are run, in order."""
        return {name: task for name, task in self.tasks.items() if task.core or not self.core_only}

    @property
    def all_arms(self) -> list[str]:
        """Arms in the order of tables, given weights last."""
        return [*self.arms, *(f"{PUBLIC}{name}" for name in self.public)]

    def budgets_of(self, task: str) -> list[Any]:
        """A task's budgets from the smallest to all."""
        own = self.tasks[task].budgets or self.budgets
        return sorted(own, key=lambda budget: float("inf") if budget == "all" else budget)


def budget_problems(key: str, budgets: list[Any]) -> Iterator[str]:
    """What is wrong with a list of budgets, one sentence each."""
    whole = [isinstance(one, int) and not isinstance(one, bool) and one >= 1 for one in budgets]
    if not budgets or not all(good or one == "all" for good, one in zip(whole, budgets, strict=True)):
        yield f"{key} must be whole numbers of patients, at least 1, or all, got {budgets}"
    elif len(set(budgets)) != len(budgets):
        yield f"{key} must differ from one another, got {budgets}"


def _is_sha256(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None
