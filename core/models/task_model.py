"""Encoder and head as one model of a task.

Shape legend: B batch, E image side.
"""

import copy

import torch
from torch import Tensor, nn

from core.models.encoder import Encoder, EncoderConfig
from core.models.heads.base import Head
from core.models.heads.classify import LinearHead
from core.models.heads.light import WIDTH, LightHead
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
    width, inside = config.width_, task.head.width
    if task.head_kind == "linear":
        return LinearHead(width, classes=len(task.classes))
    return LightHead(width, grid=config.grid, patch=config.patch, inside=inside or WIDTH)
