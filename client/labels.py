"""A hospital's labelled images for one task: chosen from its manifest, divided by patient, decoded, counted."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.cache import ImageCache, open_cache
from core.data.labelled import Labelled, labelled_images, why_unused
from core.data.manifest import Manifest
from core.data.splits import SPLITS, Split, split_patients
from core.errors import DataError
from core.evaluation.downstream import obstacle
from core.training.task import Task

MOST_NAMED = 8
"""Values of a column that a message lists."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The images of a task in their three parts."""

    train: Labelled
    validation: Labelled
    test: Labelled
    spacing_N2: NDArray[np.float64]
    """Millimetres a cached pixel of each test image; NaN where the manifest does not say."""
    rows: int
    """Of the manifest."""
    unused: Mapping[str, int]
    """Why rows of the manifest are not used, and how many."""
    splits_digest: str
    """SHA-256 of who is in which part."""

    @property
    def parts(self) -> dict[str, Labelled]:
        """The parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def digest(self) -> str:
        """SHA-256 of all pixels, masks, labels and patients."""
        found = hashlib.sha256()
        for part in self.parts.values():
            found.update(part.fingerprint.encode())
        return found.hexdigest()


def cached_side(side: int) -> int:
    """Pixels on a side of a cached image for an encoder's side: a quarter more, from which crops are taken."""
    return -(-5 * side // 4)


def prepare_labels(
    task: Task,
    whole: Manifest,
    *,
    cache: Path,
    side: int,
    seed: int,
    test: float,
    validation: float,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Divide the patients that the task is about, decode their images.

    Args:
        task: What is to be learnt.
        whole: The hospital's manifest.
        cache: Folder of decoded images; made when missing, may be shared.
        side: Pixels of the encoder's square input.
        seed: Of the division, where the manifest's `split` column says nothing.
        test: Share of the patients for the result, in (0, 1).
        validation: Share of the patients that choose which state is kept, in [0, 1); with `test` below 1.
        progress: Told (images decoded, images to decode).

    Raises:
        DataError: Whatever is wrong with the images or the split column, nothing to learn from, or nothing to test on.
    """
    unused: Counter[str] = Counter()
    for record in whole.records:
        if reason := why_unused(task, record):
            unused[reason] += 1
    used = whole.select(lambda record: not why_unused(task, record))
    if not used.records:
        raise DataError(_nothing(task, whole, unused), title=f"task {task.name}")
    splits = split_patients(used, seed=seed, test=test, validation=validation)
    opened = open_cache(used, folder=cache, side=cached_side(side), progress=progress)
    rows = {part: [n for n, r in enumerate(used.records) if splits[r.patient] == part] for part in SPLITS}
    parts = {part: labelled_images(task, used, opened, rows[part]) for part in SPLITS}
    if problems := list(_problems(task, parts, side=side)):
        raise DataError(problems, title=f"task {task.name}, {len(used.records)} images of {len(splits)} patients")
    return Prepared(
        **parts,
        spacing_N2=_spacing(opened, rows["test"]),
        rows=len(whole.records),
        unused=dict(unused),
        splits_digest=hashlib.sha256(json.dumps(splits, sort_keys=True).encode()).hexdigest(),
    )


def _spacing(cache: ImageCache, rows: list[int]) -> NDArray[np.float64]:
    return cache.spacing(np.array(rows, dtype=np.int64))


def _nothing(task: Task, manifest: Manifest, unused: Mapping[str, int]) -> list[str]:
    """What the task asks for and the manifest does not have."""
    told = "; ".join(f"{count} {reason}" for reason, count in sorted(unused.items())[:MOST_NAMED])
    problems = [f"no image of {manifest.path} is of use: {told}"]
    for column in ("dataset", "organ"):
        held = sorted({getattr(record, column) for record in manifest.records})
        if (wanted := getattr(task, column)) and wanted not in held:
            problems.append(f"the task asks for {column} {wanted!r}; the manifest has {_some(held)}")
    if task.kind == "classification":
        held = sorted({getattr(record, task.column) for record in manifest.records})
        problems.append(f"the task's classes are {_some(task.classes)}; the column {task.column} has {_some(held)}")
    if task.kind == "segmentation" and not any(record.mask for record in manifest.records):
        problems.append("the manifest names no mask; give its column `mask`")
    return problems


def _some(values: list[str]) -> str:
    more = f" and {len(values) - MOST_NAMED} more" if len(values) > MOST_NAMED else ""
    return ", ".join(repr(value) if value else "nothing" for value in values[:MOST_NAMED]) + more


def _problems(task: Task, parts: Mapping[Split, Labelled], *, side: int) -> Iterator[str]:
    """Why nothing could be learnt or nothing be told about it; a validation part may be missing."""
    needs: tuple[tuple[Split, str, str], ...] = (
        ("train", "to learn from", "lower --test and --validation"),
        ("test", "to measure the result on", "raise --test"),
    )
    for part, what, remedy in needs:
        if reason := obstacle(parts[part], task=task, side=side):
            yield f"{reason} {what}; label more patients, {remedy}, or fill the manifest's column `split`"
    labels_N = parts["train"].labels_N
    if task.kind == "classification" and labels_N is not None and len(np.unique(labels_N)) == 1:
        only = task.classes[int(labels_N[0])]
        yield f"all training images are of the class {only}; give images of two classes or more"


def counts(part: Labelled, classes: list[str]) -> dict[str, Any]:
    """Patients and images of a part, and of each class in it."""
    own: dict[str, Any] = {"patients": len(set(part.patients_N.tolist())), "images": len(part)}
    if part.labels_N is not None:
        held = {name: part.labels_N == number for number, name in enumerate(classes)}
        own["classes"] = {
            name: {"patients": len(set(part.patients_N[of_N].tolist())), "images": int(of_N.sum())}
            for name, of_N in held.items()
        }
    return own
