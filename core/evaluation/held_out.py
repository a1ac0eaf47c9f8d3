"""The dual-MIM loss on held-out patients, with corruptions fixed once and for all.

Each image has its own mask seeds, from its patient, its file name and the run's seed, so every arm restores exactly the
same pixels, and rows added to the manifest change nothing for the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from core.data.augmentation import standardize, to_float
from core.data.cache import ImageCache
from core.data.manifest import Manifest
from core.models.encoder import Encoder
from core.objectives.dual_mim import DualMIM
from core.seeding import derive

# B batch, H height, W width, N images, D width of the encoder

PatientLosses = dict[str, tuple[str, float]]
"""`patient/organ` to organ and mean loss over frames and masks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOut:
    """Images of patients that no arm has seen."""

    manifest: Manifest
    cache: ImageCache
    rows: tuple[int, ...]
    side: int
    """Pixels on a side of the encoder's input."""
    seed: int
    masks: int
    """Corruptions of each image."""
    batch: int

    def losses(self, model: DualMIM) -> PatientLosses:
        """Mean loss of each patient's frames."""
        sums: dict[str, list[float]] = {}
        organs: dict[str, str] = {}
        device = next(model.parameters()).device
        model.eval()
        with torch.no_grad():
            for chunk in batches(self.rows, size=self.batch):
                images = self.images(chunk).to(device)
                for repeat in range(self.masks):
                    parts = model(images, seeds_B=self.seeds(chunk, repeat=repeat))
                    for row, loss in zip(chunk, parts.total_B.double().cpu().tolist(), strict=True):
                        record = self.manifest.records[row]
                        key = f"{record.patient}/{record.organ}"
                        organs[key] = record.organ
                        sums.setdefault(key, []).append(loss)
        return {key: (organs[key], float(np.mean(values))) for key, values in sorted(sums.items())}

    def seeds(self, rows: Sequence[int], *, repeat: int) -> torch.Tensor:
        """One fixed int64 seed an image."""
        names = [self.manifest.records[row].image.name for row in rows]
        patients = [self.manifest.records[row].patient for row in rows]
        values = [derive(self.seed, "held-out", p, n, repeat) for p, n in zip(patients, names, strict=True)]
        return torch.tensor(values, dtype=torch.int64)

    def images(self, rows: Sequence[int]) -> torch.Tensor:
        """Pixels as the encoder takes them, (B, 1, side, side) float32 in [0, 1]."""
        pixels = torch.from_numpy(np.ascontiguousarray(self.cache.images(np.asarray(rows))))
        return to_float(pixels, side=self.side)


def features(
    encoder: Encoder, cache: ImageCache, rows: Sequence[int], *, side: int, batch: int
) -> npt.NDArray[np.float32]:
    """Mean patch token of each image under a frozen encoder, (N, D); images are standardized as in pretraining."""
    device = next(encoder.parameters()).device
    encoder.eval()
    found = []
    with torch.no_grad():
        for chunk in batches(rows, size=batch):
            pixels = torch.from_numpy(np.ascontiguousarray(cache.images(np.asarray(chunk))))
            images = standardize(to_float(pixels, side=side).to(device))
            found.append(encoder.features(images).float().cpu().numpy())
    return np.concatenate(found) if found else np.zeros((0, 0), np.float32)


def batches(rows: Sequence[int], *, size: int) -> list[Sequence[int]]:
    """Rows in order, `size` at a time."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]
