"""Fine-tuning: an encoder and a head learn a task; the same step for a hospital alone, in a federation and pooled.

H. Bao, L. Dong, S. Piao, F. Wei, "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022, arXiv:2106.08254
(layer-wise decay of the learning rate).
"""

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities import disable_possible_user_warnings
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from core.errors import ConfigError, TrainingError
from core.models.task_model import TaskModel
from core.seeding import derive
from core.training.labelled_source import Batches
from core.training.settings import TrainingConfig, learning_rate_at
from core.training.task import TuningConfig

_BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")
_BIAS = "encoder.rel_pos_bias."


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningSummary:
    """Means over the steps of one call."""

    loss: float
    images: int
    seconds: float


OnStep = Callable[[int, float, int], None]
"""Told after each step: the step, its loss, the images it took."""


class FineTuning:
    """A task model, its optimizer and where they run; used like `core.training.pretrain.Pretraining`."""

    def __init__(self, model: TaskModel, *, config: TuningConfig, total_steps: int, seed: int) -> None:
        """Freeze what the configuration freezes, and prepare for a schedule of `total_steps` optimizer steps."""
        disable_possible_user_warnings(module="lightning_fabric")
        self.model = model
        self.config = config
        self.total_steps = total_steps
        self.seed = seed
        freeze(model, config)
        self.fabric = _fabric(config)
        self.optimizer = torch.optim.AdamW(
            list(parameter_groups(model, config)), lr=config.head_learning_rate, fused=True
        )
        self._module, self._stepper = self.fabric.setup(model, self.optimizer)
        self._module.mark_forward_method("loss")
        self._schedule = TrainingConfig(learning_rate=1.0, final_fraction=0.0, warmup_fraction=config.warmup_fraction)

    def run(
        self, source: Batches, *, first: int, steps: int, on_step: OnStep | None = None, where: str = ""
    ) -> TuningSummary:
        """Take steps `first` to `first + steps - 1` of the schedule.

        Raises:
            TrainingError: A loss or its gradient is not finite; `where` says what is being trained.
        """
        start, total = time.monotonic(), 0.0
        self._train_mode()
        for step in range(first, first + steps):
            loss, norm = self._step(source, step)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise TrainingError(
                    f"{where or 'fine-tuning'}: the loss is {loss} and its gradient's norm {norm} at step {step}; "
                    "lower tuning.learning_rate or look at the images of this batch"
                )
            total += loss
            if on_step is not None:
                on_step(step, loss, self.config.batch)
        return TuningSummary(
            loss=total / max(1, steps), images=steps * self.config.batch, seconds=time.monotonic() - start
        )

    def _train_mode(self) -> None:
        """Training mode for what is trained; frozen blocks work as in evaluation, without drop_path."""
        self.model.train()
        for part in (self.model.encoder, *self.model.encoder.blocks):
            part.train(any(parameter.requires_grad for parameter in part.parameters()))

    def _step(self, source: Batches, step: int) -> tuple[float, float]:
        """Loss and gradient norm; nothing moves unless both are finite."""
        factor = learning_rate_at(step, total=self.total_steps, config=self._schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["peak"]
        device = self.fabric.device
        images_B1EE, targets = source.batch(step, size=self.config.batch, device=device)
        # Fixed here for what draws from the global generator: an encoder's drop_path.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(derive(self.seed, "drop_path", step))
            loss = self._module.loss(images_B1EE, targets)
            self._stepper.zero_grad()
            self.fabric.backward(loss)
        clipped = self.fabric.clip_gradients(
            self._module, self._stepper, max_norm=self.config.clip_norm, error_if_nonfinite=False
        )
        value, norm = float(loss.detach()), math.nan if clipped is None else float(clipped)
        if math.isfinite(value) and math.isfinite(norm):
            self._stepper.step()
        return value, norm


def _fabric(config: TuningConfig) -> Fabric:
    """Where it is trained; ConfigError where this machine has no such accelerator."""
    try:
        return Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)  # type: ignore[arg-type]
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(
            f"tuning.accelerator {config.accelerator} cannot be used on this machine ({error}); give auto or cpu"
        ) from error


def freeze(model: TaskModel, config: TuningConfig) -> None:
    """Mark what is trained: the head always; of the encoder nothing, the last blocks with the norm, or all.

    A `learning_rate` of 0 is the same as frozen: gradients that move nothing are not computed, and do not count in the
    clipped norm. More `last_blocks` than the encoder has are all its blocks; what is before them stays frozen.
    """
    depth = len(model.encoder.blocks)
    first = {"all": -1, "frozen": depth + 1, "last_blocks": max(0, depth - config.last_blocks)}[config.encoder]
    if config.learning_rate == 0:
        first = depth + 1
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_depth_of(name, depth) >= first)


def parameter_groups(model: TaskModel, config: TuningConfig) -> Iterator[dict[str, object]]:
    """AdamW's groups, each with its peak rate under `peak`.

    As in BEiT: of n blocks, block i (from 0) learns at `learning_rate` times `layer_decay` to the power n - i, what is
    before the blocks at the power n + 1, the final norm and the bias table that all blocks share at the power 0. The
    head has its own rate.
    """
    depth = len(model.encoder.blocks)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            level = depth if name.startswith(_BIAS) else _depth_of(name, depth)
            peak = config.head_learning_rate
            if level <= depth:
                peak = config.learning_rate * config.layer_decay ** (depth - level)
            groups.setdefault((peak, config.weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    for (peak, weight_decay), parameters in groups.items():
        yield {"params": parameters, "weight_decay": weight_decay, "peak": peak, "lr": peak}


def _depth_of(name: str, depth: int) -> int:
    """Where a parameter stands: -1 what is before the blocks, 0 to depth - 1, depth the norm, depth + 1 the head."""
    if name.startswith("head."):
        return depth + 1
    if match := _BLOCK.match(name):
        return int(match[1])
    return depth if name.startswith("encoder.norm.") else -1
