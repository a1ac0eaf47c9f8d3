"""Encoder and head as one model of a task.

Shape legend: B batch, E image side.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from core.errors import ConfigError
from core.models.encoder import Encoder, EncoderConfig
from core.models.heads import light, restore
from core.models.heads.base import Head
from core.models.heads.classify import AttentiveHead, LinearHead
from core.models.heads.light import LightHead
from core.models.heads.restore import RestoreHead
from core.models.heads.segvit import SegViTHead
from core.models.heads.upernet import UPerNetHead
from core.seeding import derive
from core.training.task import Task


class TaskModel(nn.Module):
    """Images (B, 1, E, E), as the encoder met them in pretraining, to the task's prediction."""

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, x_B1EE: Tensor) -> Tensor:
        """The head's prediction."""
        prediction: Tensor = self.head(self._features(x_B1EE), x_B1EE)
        return prediction

    def loss(self, x_B1EE: Tensor, target: Tensor) -> Tensor:
        """The head's loss, a scalar."""
        return self.head.loss(self._features(x_B1EE), x_B1EE, target)

    def _features(self, x_B1EE: Tensor) -> list[Tensor]:
        return self.encoder.hidden(x_B1EE, self.head.blocks)


def build_task_model(encoder: Encoder, task: Task, *, seed: int) -> TaskModel:
    """A copy of the encoder with a fresh head; the head's first weights follow from the seed alone."""
    own = copy.deepcopy(encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "head"))
        head = _head(own.config, task)
    return TaskModel(own, head.to(next(own.parameters()).device))


def _head(config: EncoderConfig, task: Task) -> Head:
    """The task's head, its first weights drawn from torch's generator.

    Raises:
        ConfigError: no head is built under that name.
    """
    kind, width, patch, inside = task.head_kind, config.width_, config.patch, task.head.width
    builders: dict[str, Callable[[], Head]] = {
        "linear": lambda: LinearHead(width, classes=len(task.classes)),
        "attentive": lambda: AttentiveHead(width, heads=config.heads_, classes=len(task.classes), inside=inside),
        "light": lambda: LightHead(width, grid=config.grid, patch=patch, inside=inside or light.WIDTH),
        "upernet": lambda: UPerNetHead(width, depth=config.depth_, patch=patch, inside=inside),
        "segvit": lambda: SegViTHead(width, depth=config.depth_, inside=inside),
        "restore": lambda: RestoreHead(width, patch=patch, inside=inside or restore.WIDTH),
    }
    if kind not in builders:
        raise ConfigError(f"task {task.name}: no head is called {kind!r}; choose one of {', '.join(builders)}")
    return builders[kind]()
