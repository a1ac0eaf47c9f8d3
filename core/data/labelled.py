"""The images of one split of a task, with what is to be predicted for each.

Shape legend: N images, S side as cached, E side of the encoder's input.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.data.cache import ImageCache
from core.data.manifest import Manifest, Record
from core.errors import DataError
from core.federation.tensors import digest_of
from core.training.task import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """Images of one split, in one order; what a task does not have is None."""

    images_NSS: NDArray[np.uint8]
    """(N, S, S), 0 to 255."""
    patients_N: NDArray[np.str_]
    """(N,), the patient of each image."""
    masks_NSS: NDArray[np.uint8] | None = None
    """(N, S, S), 0 and 1; segmentation."""
    labels_N: NDArray[np.int64] | None = None
    """(N,), number of the class in the task's list; classification."""
    names_N: NDArray[np.str_] | None = None
    """(N,), the file of each image, relative to its manifest, the bare name where it lies elsewhere; for pages that
    show them, and for what is drawn by image."""

    def __post_init__(self) -> None:
        """Check that the arrays belong together; raises DataError."""
        shape = self.images_NSS.shape
        good = len(shape) == 3 and self.patients_N.shape == shape[:1]
        good &= self.masks_NSS is None or self.masks_NSS.shape == shape
        good &= all(own is None or own.shape == shape[:1] for own in (self.labels_N, self.names_N))
        if not good:
            raise DataError("labelled images: give one patient, and one mask or label of the task's kind, an image")
        if self.masks_NSS is not None and self.masks_NSS.size and self.masks_NSS.max() > 1:
            raise DataError(f"labelled images: masks hold {self.masks_NSS.max()}; give 0 and 1 only")

    def __len__(self) -> int:
        """Images."""
        return len(self.images_NSS)

    def at(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Labelled":
        """The images at these positions, or where the mask is true, in that order."""
        own = {name: getattr(self, name) for name in ("masks_NSS", "labels_N", "names_N")}
        return Labelled(
            images_NSS=self.images_NSS[rows],
            patients_N=self.patients_N[rows],
            **{name: None if value is None else value[rows] for name, value in own.items()},
        )

    def of(self, patients: Collection[str]) -> "Labelled":
        """The images of these patients, in the same order."""
        return self.at(np.isin(self.patients_N, list(patients)))

    @property
    def fingerprint(self) -> str:
        """What tells these images, masks, labels and patients from others."""
        named = {"images": self.images_NSS, "masks": self.masks_NSS, "labels": self.labels_N}
        arrays = {name: value for name, value in named.items() if value is not None}
        return f"{digest_of(arrays)}|{json.dumps(self.patients_N.tolist())}"


def labelled_rows(task: Task, manifest: Manifest, rows: Sequence[int]) -> NDArray[np.int64]:
    """Those of the manifest's rows that the task is about, (N,); a row without its label or mask is left out.

    For enhancement every image of the task's data set and organ counts: the image itself is what is to be restored.
    """
    return np.array([row for row in rows if not why_unused(task, manifest.records[row])], dtype=np.int64)


def labelled_images(task: Task, manifest: Manifest, cache: ImageCache, rows: Sequence[int]) -> Labelled:
    """The images of `labelled_rows`, with what the task predicts for each."""
    rows_N = labelled_rows(task, manifest, rows)
    records = [manifest.records[row] for row in rows_N]
    number = _numbers(task)
    labels = [number.get(_value(task, record), -1) for record in records]
    return Labelled(
        images_NSS=cache.images(rows_N),
        patients_N=np.array([record.patient for record in records], dtype=np.str_),
        names_N=np.array([_name(record.image, manifest.path.parent) for record in records], dtype=np.str_),
        masks_NSS=cache.masks(rows_N) if task.kind == "segmentation" else None,
        labels_N=np.array(labels, dtype=np.int64) if task.kind == "classification" else None,
    )


def why_unused(task: Task, record: Record) -> str:
    """Why a task leaves a row of the manifest out; empty where it does not."""
    if task.dataset not in ("", record.dataset):
        return f"not of data set {task.dataset}"
    if task.organ not in ("", record.organ):
        return f"not of organ {task.organ}"
    if task.kind == "segmentation" and record.mask is None:
        return "without a mask"
    value = _value(task, record)
    if task.kind == "classification" and value not in _numbers(task):
        return f"of no class of the task ({task.column} {value or 'empty'})"
    return ""


def _numbers(task: Task) -> dict[str, int]:
    """Word of the task's column to the number of its class."""
    return {word: position for position, words in enumerate(task.classes) for word in words.split("|")}


def _value(task: Task, record: Record) -> str:
    return record.label if task.column == "label" else record.organ


def _name(image: Path, folder: Path) -> str:
    return image.relative_to(folder).as_posix() if image.is_relative_to(folder) else image.name
