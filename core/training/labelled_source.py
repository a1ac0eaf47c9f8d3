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

from core.data.augmentation import AugmentationConfig, augment, augment_mask, standardize, units_of
from core.data.degradation import DegradationConfig, degrade
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
    """Labelled images, a patient drawn first and then one of the patient's images, each uniformly.

    Draws are with replacement and each step's are its own, so nothing needs shuffling and no order is ever seen. With
    `tuning.balance` a class is drawn before the patient, who then is one that has an image of it.
    """

    labelled: Labelled
    task: Task
    side: int
    """Pixels on a side after augmentation."""
    seed: int
    stream: str
    """The site's name, or what else tells one stream of draws from another."""

    def __post_init__(self) -> None:
        """There must be something to draw, with targets of the task's kind; raises DataError."""
        targets = {"segmentation": self.labelled.masks_NSS, "classification": self.labelled.labels_N}
        if not len(self.labelled):
            raise DataError(f"{self.stream}: no labelled training image of task {self.task.name}")
        if targets.get(self.task.kind, self.labelled.images_NSS) is None:
            raise DataError(
                f"{self.stream}: training images without what task {self.task.name} ({self.task.kind}) needs"
            )

    @cached_property
    def _groups(self) -> list[list[NDArray[np.intp]]]:
        """For each class that has images, or for all together, each patient's images."""
        patients_N, labels_N = self.labelled.patients_N, self.labelled.labels_N
        groups = [np.ones(len(patients_N), bool)]
        if labels_N is not None and self.task.kind == "classification" and self.task.tuning.balance:
            groups = [labels_N == number for number in np.unique(labels_N)]
        return [[np.flatnonzero(own_N & (patients_N == name)) for name in np.unique(patients_N[own_N])]
                for own_N in groups]  # fmt: skip

    def batch(self, step: int, *, size: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Images (B, 1, E, E), cropped, flipped and brightened, and targets cropped and flipped alike."""
        draws = numpy_generator(self.seed, "labelled", self.stream, step)
        picked = np.array([self._pick(draws) for _ in range(size)])
        seeds_B = torch.from_numpy(draws.integers(2**62, size=size))
        settings = AugmentationConfig(crop_scale_min=self.task.tuning.crop_scale_min)
        images_BSS = torch.from_numpy(self.labelled.images_NSS[picked]).to(device)
        images_B1EE = augment(images_BSS, seeds_B=seeds_B, side=self.side, settings=settings)
        if self.task.kind == "enhancement":
            return worse_and_clean(images_B1EE, seeds_B=seeds_B, settings=self.task.degradation)
        return standardize(images_B1EE), self._targets(picked, seeds_B, settings).to(images_BSS.device)

    def _pick(self, draws: np.random.Generator) -> int:
        group = self._groups[draws.integers(len(self._groups))]
        own = group[draws.integers(len(group))]
        return int(own[draws.integers(len(own))])

    def _targets(self, picked: NDArray[np.intp], seeds_B: Tensor, settings: AugmentationConfig) -> Tensor:
        if self.task.kind == "classification":
            assert self.labelled.labels_N is not None
            return torch.from_numpy(self.labelled.labels_N[picked])
        assert self.labelled.masks_NSS is not None
        masks_BSS = torch.from_numpy(self.labelled.masks_NSS[picked])
        return augment_mask(masks_BSS, seeds_B=seeds_B, side=self.side, settings=settings)


def worse_and_clean(images_B1EE: Tensor, *, seeds_B: Tensor, settings: DegradationConfig) -> tuple[Tensor, Tensor]:
    """Input and target of enhancement: the degraded image, standardized, and the clean one in the same units.

    Args:
        images_B1EE: Clean, in [0, 1].
        seeds_B: int64 on the CPU, one an image.
        settings: How they are made worse.
    """
    worse_B1EE = degrade(images_B1EE, seeds_B=seeds_B, settings=settings)
    mean_B111, scale_B111 = units_of(worse_B1EE)
    return (worse_B1EE - mean_B111) / scale_B111, (images_B1EE - mean_B111) / scale_B111
