"""Batches for fine-tuning, each a pure function of (seed, stream, step).

Shape legend: B batch, E side of the encoder's input.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.augmentation import AugmentationConfig, augment, augment_mask, standardize
from core.data.labelled import Labelled
from core.errors import DataError
from core.seeding import numpy_generator
from core.training.task import Task


class Batches(Protocol):
    """Where a fine-tuning's batches come from."""

    def batch(self, step: int, *, size: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Images (B, 1, E, E) as the encoder takes them, and targets as `core.models.heads.base.Head.loss` does."""
        ...


@dataclass(frozen=True, kw_only=True)
class LabelledSource:
    """Labelled images, a patient drawn first and then one of the patient's images, each uniformly."""

    labelled: Labelled
    task: Task
    side: int
    """Pixels on a side after augmentation."""
    seed: int
    stream: str
    """The site's name, or what else tells one stream of draws from another."""

    def __post_init__(self) -> None:
        """There must be something to draw; raises DataError."""
        if not len(self.labelled):
            raise DataError(f"{self.stream}: no labelled training image of task {self.task.name}")

    @cached_property
    def _rows(self) -> list[NDArray[np.intp]]:
        """Each patient's images."""
        return [np.flatnonzero(self.labelled.patients_N == name) for name in np.unique(self.labelled.patients_N)]

    def batch(self, step: int, *, size: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Images (B, 1, E, E), cropped, flipped and brightened, and targets cropped and flipped alike."""
        draws = numpy_generator(self.seed, "labelled", self.stream, step)
        chosen = [self._rows[number] for number in draws.integers(len(self._rows), size=size)]
        picked = np.array([own[draws.integers(len(own))] for own in chosen])
        seeds_B = torch.from_numpy(draws.integers(2**62, size=size))
        settings = AugmentationConfig(crop_scale_min=self.task.tuning.crop_scale_min)
        images_BSS = torch.from_numpy(self.labelled.images_NSS[picked]).to(device)
        images_B1EE = augment(images_BSS, seeds_B=seeds_B, side=self.side, settings=settings)
        return standardize(images_B1EE), self._targets(picked, seeds_B, settings).to(images_BSS.device)

    def _targets(self, picked: NDArray[np.intp], seeds_B: Tensor, settings: AugmentationConfig) -> Tensor:
        if self.labelled.labels_N is not None:
            return torch.from_numpy(self.labelled.labels_N[picked])
        assert self.labelled.masks_NSS is not None
        masks_BSS = torch.from_numpy(self.labelled.masks_NSS[picked])
        return augment_mask(masks_BSS, seeds_B=seeds_B, side=self.side, settings=settings)
