"""Batches for pretraining, each a pure function of (seed, stream, step)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from core.data.augmentation import AugmentationConfig, augment
from core.data.cache import ImageCache
from core.data.sampling import OrganSampler
from core.seeding import numpy_generator

# B batch, N records, H height, W width


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a site's (or the pool's) training images come from.

    A step's images, augmentation and masks follow from the run's seed, the stream's name and the step alone, so a
    repeated step is the same step, whatever ran before it.
    """

    cache: ImageCache
    sampler: OrganSampler
    rows_N: npt.NDArray[np.int64]
    """Row of the cache for each record of the sampler."""
    augmentation: AugmentationConfig
    side: int
    """Pixels on a side after augmentation."""
    seed: int
    stream: str
    """The site's name, or the arm's for pooled data."""

    def batch(self, step: int, *, size: int, device: torch.device | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, 1, side, side) float32 in [0, 1], augmented on `device`, and one int64 mask seed an image."""
        generator = numpy_generator(self.seed, "draw", self.stream, step)
        drawn = self.sampler.draw(generator, size)
        seeds = torch.from_numpy(generator.integers(0, 2**62, size=(2, size), dtype=np.int64))
        images_BHW = torch.from_numpy(np.ascontiguousarray(self.cache.images(self.rows_N[drawn]))).to(device)
        images = augment(images_BHW, seeds_B=seeds[0], side=self.side, settings=self.augmentation)
        return images, seeds[1]
