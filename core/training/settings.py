"""How a model is trained, and the schedule of its learning rate."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import ConfigError

PRECISIONS = ("32-true", "bf16-mixed")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """AdamW with linear warm-up and cosine decay over the whole study."""

    batch: int = 32
    """Images an optimizer step at one hospital."""
    accumulate: int = 1
    """Micro-batches a step; `batch` must be a multiple."""
    learning_rate: float = 1e-3
    """Peak rate of AdamW."""
    final_fraction: float = 0.05
    """Rate at the last step, as a fraction of the peak."""
    warmup_fraction: float = 0.1
    """Part of all steps spent in linear warm-up."""
    weight_decay: float = 0.05
    """Decoupled, on matrices only (SimMIM's rule)."""
    beta1: float = 0.9
    """AdamW's first moment."""
    beta2: float = 0.95
    """AdamW's second moment (MAE's value)."""
    clip_norm: float = 5.0
    """L2 bound on the gradient of one step (SimMIM's value)."""
    optimizer: str = "adamw"
    """adamw, or sgd (no momentum; for proofs and ablation)."""
    accelerator: str = "auto"
    """Fabric's word: auto, cpu, gpu."""
    devices: int = 1
    """Devices inside a hospital (DDP when more than one)."""
    precision: str = "32-true"
    """32-true or bf16-mixed."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError with every problem."""
        if found := list(self._problems()):
            raise ConfigError(found)

    def _problems(self) -> Iterator[str]:
        if self.batch < 1:
            yield f"training.batch must be at least 1, got {self.batch}"
        if self.accumulate < 1 or self.batch % max(1, self.accumulate):
            yield f"training.accumulate must divide training.batch {self.batch}, got {self.accumulate}"
        if not 0 < self.learning_rate < 10:
            yield f"training.learning_rate must lie in (0, 10), got {self.learning_rate}"
        for name in ("final_fraction", "warmup_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"training.{name} must lie in [0, 1], got {getattr(self, name)}"
        if self.weight_decay < 0:
            yield f"training.weight_decay must not be negative, got {self.weight_decay}"
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                yield f"training.{name} must lie in [0, 1), got {getattr(self, name)}"
        if not self.clip_norm > 0:
            yield f"training.clip_norm must be positive, got {self.clip_norm}"
        if self.optimizer not in ("adamw", "sgd"):
            yield f"training.optimizer must be adamw or sgd, got {self.optimizer!r}"
        if self.devices < 1:
            yield f"training.devices must be at least 1, got {self.devices}"
        if self.precision not in PRECISIONS:
            yield f"training.precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}"


def learning_rate_at(step: int, *, total: int, config: TrainingConfig) -> float:
    """The rate of step `step` (from 0) of `total`: linear warm-up, then a half cosine to the final fraction.

    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, arXiv:1608.03983.
    """
    warmup = round(config.warmup_fraction * total)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * (config.final_fraction + (1.0 - config.final_fraction) * cosine)


def update_bound(config: TrainingConfig, *, steps: int, parameters: int) -> float:
    """An L2 bound that no honest round of `steps` AdamW steps exceeds, in parameter units.

    One step moves a parameter by at most rate * max(1, (1-b1)/sqrt(1-b2)) before weight decay (Kingma and Ba, "Adam",
    ICLR 2015, section 2.1); the factor 1.5 leaves room for decay. For sgd the clipped gradient gives the bound.
    """
    if config.optimizer == "sgd":
        return 1.5 * config.learning_rate * config.clip_norm * steps
    widest = max(1.0, (1.0 - config.beta1) / math.sqrt(1.0 - config.beta2))
    return 1.5 * config.learning_rate * widest * steps * math.sqrt(parameters)
