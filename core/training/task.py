"""A downstream task: whose labels, which head, how it is fine-tuned. One YAML file (`configs/tasks`) is one task."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from core import config as configuration
from core.data.degradation import DegradationConfig
from core.errors import ConfigError

KINDS = ("segmentation", "classification", "enhancement")
HEADS = {
    "segmentation": ("light", "upernet", "segvit"),
    "classification": ("linear", "attentive"),
    "enhancement": ("restore",),
}
"""Heads of each kind; the first is the default."""
TRAINED = ("frozen", "last_blocks", "all")
WIDEST = 4096
"""Channels inside a head; one digit too many would ask for all memory."""
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A task's name; it becomes part of file names."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The part behind the encoder (`core.models.heads`)."""

    kind: str = ""
    """One of the task's kind (`HEADS`); empty takes the first."""
    width: int = 0
    """Channels inside the head, to 4096; 0 takes the head's own."""


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """How encoder and head are trained: AdamW, linear warm-up, cosine decay to 0."""

    encoder: str = "all"
    """What of the encoder is trained: frozen (nothing), last_blocks (the last `last_blocks` and the norm), all."""
    last_blocks: int = 2
    """Blocks trained when `encoder` is last_blocks; at least 1."""
    layer_decay: float = 1.0
    """Rate of a block relative to the next one's, the last block's relative to `learning_rate` (BEiT; 0.65 to 0.75 for
    ViT-B); above 0, to 1."""
    steps: int = 200
    """Optimizer steps; at least 1."""
    batch: int = 16
    """Images a step, drawn with replacement, so that no order of the data is ever seen; at least 1. A labelled patient
    is drawn, then one of the patient's images, each uniformly."""
    balance: bool = True
    """Classification: a class that has images is drawn before the patient, each alike, so that a rare class is not
    missed; predicted probabilities are then those of a world where classes are even. False: as often as patients."""
    learning_rate: float = 3e-4
    """Peak rate of the encoder, before `layer_decay`; 0 keeps it as it is, as `frozen` does. At least 0, below 1."""
    head_learning_rate: float = 3e-3
    """Peak rate of the head; above 0, below 1."""
    warmup_fraction: float = 0.1
    """Part of the steps spent in linear warm-up; 0 to 1."""
    weight_decay: float = 0.05
    """Decoupled, on matrices only, in step with a parameter's own rate; at least 0, below 1."""
    clip_norm: float = 1.0
    """L2 bound on the gradient of one step; positive."""
    crop_scale_min: float = 0.67
    """Least area of the random crop, as a share of the image; above 0, to 1. Flips have probability one half."""
    evaluations: int = 5
    """How often validation patients are scored in the course of training; the best state is kept. At least 1."""
    patience: int = 0
    """Validation scores in a row, none above the best before it, after which training stops; 0 never stops early."""
    precision: str = "32-true"
    """32-true or bf16-mixed."""
    accelerator: str = "auto"
    """Fabric's word: auto, cpu, gpu, cuda, mps."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError with every problem."""
        if found := list(self._problems()):
            raise ConfigError(found)

    def _problems(self) -> Iterator[str]:
        allowed = {
            "encoder": (self.encoder in TRAINED, f"be one of {', '.join(TRAINED)}"),
            "last_blocks": (self.last_blocks >= 1, "be at least 1"),
            "layer_decay": (0 < self.layer_decay <= 1, "lie in (0, 1]"),
            "steps": (self.steps >= 1, "be at least 1"),
            "batch": (self.batch >= 1, "be at least 1"),
            "learning_rate": (0 <= self.learning_rate < 1, "lie in [0, 1)"),
            "head_learning_rate": (0 < self.head_learning_rate < 1, "lie in (0, 1)"),
            "warmup_fraction": (0 <= self.warmup_fraction <= 1, "lie in [0, 1]"),
            "weight_decay": (0 <= self.weight_decay < 1, "lie in [0, 1)"),
            "clip_norm": (0 < self.clip_norm < float("inf"), "be positive and finite"),
            "crop_scale_min": (0 < self.crop_scale_min <= 1, "lie in (0, 1]"),
            "evaluations": (self.evaluations >= 1, "be at least 1"),
            "patience": (self.patience >= 0, "not be negative"),
            "accelerator": (self.accelerator in ACCELERATORS, f"be one of {', '.join(ACCELERATORS)}"),
            "precision": (self.precision in ("32-true", "bf16-mixed"), "be 32-true or bf16-mixed"),
        }
        for name, (good, want) in allowed.items():
            if not good:
                yield f"tuning.{name} must {want}, got {getattr(self, name)!r}"


@dataclass(frozen=True, kw_only=True)
class Task:
    """One downstream task."""

    name: str = "task"
    """Part of what fixes draws and the head's first weights."""
    kind: str = "segmentation"
    """segmentation (one structure against the rest), classification or enhancement."""
    dataset: str = ""
    """The manifest's `dataset` value; empty for all."""
    organ: str = ""
    """Only images of this organ; empty for all."""
    column: str = "label"
    """label or organ; classification."""
    classes: list[str] = field(default_factory=list)
    """Values of the column, in order; others are left out. `a|b` merges two. Classification."""
    degradation: DegradationConfig = field(default_factory=DegradationConfig)
    """How the images are made worse from which enhancement restores them."""
    head: HeadConfig = field(default_factory=HeadConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)

    def __post_init__(self) -> None:
        """Check that the parts fit; raises ConfigError with every problem."""
        if found := list(self._problems()):
            raise ConfigError(found, title=f"task {self.name}")

    def _problems(self) -> Iterator[str]:
        if not NAME.fullmatch(self.name):
            yield f"name must be 1 to 64 letters, digits, dots, dashes or underscores, got {self.name!r}"
        if self.kind not in KINDS:
            yield f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}"
        elif self.head.kind not in ("", *HEADS[self.kind]):
            yield f"head.kind must be one of {', '.join(HEADS[self.kind])} for {self.kind}, got {self.head.kind!r}"
        if not 0 <= self.head.width <= WIDEST:
            yield f"head.width must be 0 to {WIDEST} channels, got {self.head.width}"
        if self.column not in ("label", "organ"):
            yield f"column must be label or organ, got {self.column!r}"
        words = [word for group in self.classes for word in group.split("|")]
        if self.kind == "classification" and len(self.classes) < 2:
            yield "classes must name two classes or more"
        if len(set(words)) != len(words) or "" in words:
            yield f"classes must be different words, got {self.classes}"

    @property
    def head_kind(self) -> str:
        """The head in force."""
        return self.head.kind or HEADS[self.kind][0]


def load_task(path: Path) -> Task:
    """Read one task's YAML file; raises ConfigError with every problem of it."""
    return configuration.load(Task, path=path, overrides=[])[0]
