"""Images with masks: one split of a segmentation task, as arrays and as the encoder takes them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.augmentation import standardize, to_float, to_mask
from core.data.cache import ImageCache
from core.data.manifest import Manifest
from core.errors import DataError
from core.evaluation.dice import Truth

# N images, S side as cached, E side of the encoder's input, B batch, M predictions of one image


@dataclass(frozen=True, slots=True)
class Masked:
    """Images of one split with their masks."""

    images_NSS: NDArray[np.uint8]
    """(N, S, S), 0 to 255."""
    masks_NSS: NDArray[np.uint8]
    """(N, S, S), 0 and 1."""
    patients_N: NDArray[np.str_]
    """(N,), the patient of each image."""

    def __post_init__(self) -> None:
        """Check shapes and values; raises DataError."""
        shape = self.images_NSS.shape
        if len(shape) != 3 or self.masks_NSS.shape != shape or self.patients_N.shape != shape[:1]:
            raise DataError(
                f"segmentation: images {shape}, masks {self.masks_NSS.shape} and patients {self.patients_N.shape} "
                "do not belong together; give one mask of the image's size and one patient for each image"
            )
        if self.masks_NSS.size and self.masks_NSS.max() > 1:
            raise DataError(
                f"segmentation: masks hold {self.masks_NSS.max()}; give 0 and 1 only, as the image cache keeps them"
            )

    def of(self, patients: Collection[str]) -> "Masked":
        """The images of these patients, in the same order."""
        kept_N = np.isin(self.patients_N, list(patients))
        return Masked(self.images_NSS[kept_N], self.masks_NSS[kept_N], self.patients_N[kept_N])

    def truth(self, *, side: int) -> Truth:
        """The masks at the side at which predictions are made: (N, E, E), each pixel the nearest of the mask's."""
        masks_N1EE = to_mask(torch.from_numpy(self.masks_NSS), side=side) if len(self.masks_NSS) else None
        masks_NEE = np.zeros((0, side, side), bool) if masks_N1EE is None else masks_N1EE[:, 0].numpy() > 0
        return Truth(masks_NEE, self.patients_N)


def masked_images(manifest: Manifest, cache: ImageCache, rows: Sequence[int]) -> Masked:
    """Those of the manifest's rows that have a mask; the others are left out."""
    kept = np.array([row for row in rows if cache.has_mask(row)], dtype=np.int64)
    names = np.array([manifest.records[row].patient for row in kept], dtype=np.str_)
    return Masked(cache.images(kept), cache.masks(kept), names)


def encoder_input(images_BSS: NDArray[np.uint8], *, side: int, device: torch.device) -> Tensor:
    """Images as the encoder met them in pretraining: (B, 1, E, E), each of mean 0 and deviation 1."""
    return standardize(to_float(torch.from_numpy(images_BSS).to(device), side=side))


@torch.no_grad()
def predict(
    model: Callable[[Tensor], Tensor], split: Masked, *, side: int, device: torch.device, batch: int
) -> NDArray[np.float32]:
    """What a model, from images (B, 1, E, E) to scores (B, M, E, E), gives for a split: (M, N, E, E)."""
    found = [
        model(encoder_input(split.images_NSS[start : start + batch], side=side, device=device)).float().cpu().numpy()
        for start in range(0, len(split.images_NSS), batch)
    ]
    return np.ascontiguousarray(np.concatenate(found).swapaxes(0, 1), np.float32)
