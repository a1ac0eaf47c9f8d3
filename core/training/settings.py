"""How a model is trained, and the schedule of its learning rate."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import ConfigError

OPTIMIZERS = ("adamw", "sgd")
PRECISIONS = ("32-true", "bf16-mixed")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """AdamW with linear warm-up and cosine decay over the whole study."""

    batch: int = 32
    """Images an optimizer step at one hospital."""
    accumulate: int = 1
    """Micro-batches a step; `batch` must be a multiple of this times `devices`."""
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
    compile: bool = False
    """Compile encoder and decoder (torch.compile): a minute or more at the start, faster steps after. Steps equal eager
    ones up to rounding only. A CPU needs a C++ compiler for it."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError with every problem."""
        if found := list(self._problems()):
            raise ConfigError(found)

    def _problems(self) -> Iterator[str]:
        shares = max(1, self.accumulate) * max(1, self.devices)
        divides = self.accumulate >= 1 and self.batch % shares == 0
        allowed = {
            "batch": (self.batch >= 1, "be at least 1"),
            "accumulate": (divides, f"divide training.batch {self.batch} with training.devices {self.devices}"),
            "learning_rate": (0 < self.learning_rate < 10, "lie in (0, 10)"),
            "final_fraction": (0 <= self.final_fraction <= 1, "lie in [0, 1]"),
            "warmup_fraction": (0 <= self.warmup_fraction <= 1, "lie in [0, 1]"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "be finite and not negative"),
            "beta1": (0 <= self.beta1 < 1, "lie in [0, 1)"),
            "beta2": (0 <= self.beta2 < 1, "lie in [0, 1)"),
            "clip_norm": (0 < self.clip_norm < math.inf, "be positive and finite"),
            "optimizer": (self.optimizer in OPTIMIZERS, f"be one of {', '.join(OPTIMIZERS)}"),
            "devices": (self.devices >= 1, "be at least 1"),
            "precision": (self.precision in PRECISIONS, f"be one of {', '.join(PRECISIONS)}"),
        }
        for name, (good, want) in allowed.items():
            if not good:
                yield f"training.{name} must {want}, got {getattr(self, name)!r}"


def learning_rate_at(step: int, *, total: int, config: TrainingConfig) -> float:
    """The rate of step `step` (from 0) of `total`: linear warm-up, then a half cosine to the final fraction.

    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, arXiv:1608.03983.
    """
    warmup = round(config.warmup_fraction * total)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - 1 - warmup)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * (config.final_fraction + (1.0 - config.final_fraction) * cosine)


def widest_step(*, beta1: float, beta2: float) -> float:
    """Farthest that one step of AdamW moves a parameter, in rates, before weight decay.

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv:1412.6980, section 2.1.
    """
    return max(1.0, (1.0 - beta1) / math.sqrt(1.0 - beta2))


def update_bound(config: TrainingConfig, *, steps: int, parameters: int) -> float:
    """An L2 bound that no honest round of `steps` AdamW steps exceeds, in parameter units.

    The factor 1.5 leaves room for weight decay. For sgd the clipped gradient gives the bound.
    """
    if config.optimizer == "sgd":
        return 1.5 * config.learning_rate * config.clip_norm * steps
    widest = widest_step(beta1=config.beta1, beta2=config.beta2)
    return 1.5 * config.learning_rate * widest * steps * math.sqrt(parameters)
