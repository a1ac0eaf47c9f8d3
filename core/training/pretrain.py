"""The pretraining step, the same for a hospital in the federation, a hospital alone and the pooled data.

AdamW: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, arXiv:1711.05101.
"""

import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities import disable_possible_user_warnings
from torch import nn

from core.errors import ConfigError, TrainingError
from core.objectives.dual_mim import DualMIM
from core.training.settings import TrainingConfig, learning_rate_at
from core.training.source import Source

# B images of one micro-batch on this process


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Means over the steps of one call."""

    loss: float
    spatial: float
    frequency: float
    images: int
    seconds: float


OnStep = Callable[[int, float, int], None]
"""Told after each step: the step, its loss, the images it took."""


class Pretraining:
    """A model, its optimizer and where they run. Weights and moments can be read and set as plain arrays."""

    def __init__(self, model: DualMIM, *, config: TrainingConfig, total_steps: int) -> None:
        """Prepare for a schedule of `total_steps` optimizer steps in all; raises ConfigError without a compiler."""
        disable_possible_user_warnings(module="lightning_fabric")
        self.model = model
        self.config = config
        self.total_steps = total_steps
        self.fabric = Fabric(accelerator=config.accelerator, devices=config.devices, precision=config.precision)  # type: ignore[arg-type]
        if config.devices > 1:
            self.fabric.launch()
        self.optimizer = make_optimizer(model, config)
        if config.compile:
            compile_parts(model, on_cpu=self.fabric.device.type == "cpu")
        self._module, self._stepper = self.fabric.setup(model, self.optimizer)

    def run(self, source: Source, *, first: int, steps: int, on_step: OnStep | None = None, where: str = "") -> Summary:
        """Take steps `first` to `first + steps - 1` of the schedule.

        Raises:
            TrainingError: A loss or its gradient is not finite; `where` says what is being trained and what the last
                good state is.
        """
        start = time.monotonic()
        sums = np.zeros(3)
        self._module.train()
        for step in range(first, first + steps):
            losses, norm = self._step(source, step)
            if not np.isfinite([*losses, norm]).all():
                raise TrainingError(
                    f"{where or source.stream}: the loss is {losses[0]} and its gradient's norm {norm} at step {step}; "
                    f"the last good state is that of step {first}; lower training.learning_rate or look at the images "
                    "of this batch"
                )
            sums += losses
            if on_step is not None:
                on_step(step, float(losses[0]), self.config.batch)
        mean = sums / max(1, steps)
        return Summary(
            loss=float(mean[0]),
            spatial=float(mean[1]),
            frequency=float(mean[2]),
            images=steps * self.config.batch,
            seconds=time.monotonic() - start,
        )

    def _step(self, source: Source, step: int) -> tuple[npt.NDArray[np.float64], float]:
        """The losses and the gradient's norm; nothing moves unless both are finite."""
        rate = learning_rate_at(step, total=self.total_steps, config=self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        images, seeds = source.batch(step, size=self.config.batch, device=self.fabric.device)
        rank, world = self.fabric.global_rank, self.fabric.world_size
        parts = torch.arange(rank, self.config.batch, world).tensor_split(self.config.accumulate)
        losses = np.zeros(3)
        self._stepper.zero_grad()
        for number, part in enumerate(parts):
            losses += self._backward(images[part], seeds[part], last=number == len(parts) - 1)
        # `losses` is reduced for the log and the finite check; the gradients are averaged by DDP itself.
        if world > 1:
            losses = np.asarray(self.fabric.all_reduce(torch.from_numpy(losses), reduce_op="mean"))
        clipped = self.fabric.clip_gradients(
            self._module, self._stepper, max_norm=self.config.clip_norm, error_if_nonfinite=False
        )
        norm = math.nan if clipped is None else float(clipped)
        if np.isfinite([*losses, norm]).all():
            self._stepper.step()
        return losses, norm

    def _backward(self, images: torch.Tensor, seeds: torch.Tensor, *, last: bool) -> npt.NDArray[np.float64]:
        share = len(images) * self.fabric.world_size / self.config.batch
        with self.fabric.no_backward_sync(self._module, enabled=not last):
            parts = self._module(images, seeds_B=seeds)
            total = parts.total_B.mean()
            self.fabric.backward(total * share)
        detached = torch.stack([total, parts.spatial_B.mean(), parts.frequency_B.mean()]).detach()
        return (detached.double() * share).cpu().numpy()


def compile_parts(model: DualMIM, *, on_cpu: bool) -> None:
    """Compile encoder and decoder in place; names of parameters stay, and what is drawn and filtered stays eager.

    Raises:
        ConfigError: On a CPU without a C++ compiler, which inductor needs there.
    """
    if on_cpu and not any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++", "c++") if name):
        raise ConfigError(
            "training.compile needs a C++ compiler on a CPU; install g++, or leave training.compile=false"
        )
    for part in (model.encoder, model.decoder):
        part.compile()


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW with weight decay on matrices only, or plain SGD."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


def moments_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, npt.NDArray[np.float32]]:
    """The optimizer's state as arrays named `parameter/slot`; empty before the first step."""
    found = {}
    for name, parameter in model.named_parameters():
        for slot, value in optimizer.state.get(parameter, {}).items():
            found[f"{name}/{slot}"] = torch.as_tensor(value).detach().cpu().numpy().copy()
    return found


def load_moments(
    model: nn.Module, optimizer: torch.optim.Optimizer, moments: dict[str, npt.NDArray[np.float32]]
) -> None:
    """Set the optimizer's state; an empty dictionary resets it."""
    optimizer.state.clear()
    slots: dict[str, dict[str, npt.NDArray[np.float32]]] = {}
    for key, value in moments.items():
        owner, slot = key.rsplit("/", 1)
        slots.setdefault(owner, {})[slot] = value
    for name, parameter in model.named_parameters():
        if name in slots:
            # The fused AdamW keeps everything, its step count too, beside the parameter.
            optimizer.state[parameter] = {
                slot: torch.from_numpy(value.copy()).to(parameter.device) for slot, value in slots[name].items()
            }
