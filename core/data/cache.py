"""Images decoded once, resized and kept as uint8 in memory-mapped files, for a manifest's rows.

One folder serves many manifests (the hospitals of a simulation share it): pixels are kept by source path, and a view
maps rows to them. A source whose size or time stamp differs is read again, and decoded again if its SHA-256 changed.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from core.data.decode import Decoded, Source, bomb_warnings_off, decode_image, decode_mask, read_source
from core.data.manifest import Manifest, Record
from core.data.problems import RowProblems
from core.data.store import KINDS, Entry, Kind, Store, open_store
from core.errors import ConfigError, DataError

# N rows of the manifest, M slots of a cache file, B rows asked for, S side.

Job = tuple[Kind, Path]
Outcome = tuple[Source, Decoded | None] | DataError

AT_ONCE = 32
"""Images decoded before the next are read: bounds memory."""
COMMIT_EVERY = 1000
"""New slots after which a kill loses nothing; grows with the cache, so that writing the index stays cheap."""


class ImageCache:
    """A manifest's images and masks, row by row; made by `open_cache`."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        images, masks = store.entries["images"], store.entries["masks"]
        records = manifest.records
        self.side = store.side
        self._images_MSS = store.mapped("images")
        self._masks_MSS = store.mapped("masks")
        self._image_N = np.array([images[str(record.image)].slot for record in records], dtype=np.int64)
        slots = [masks[str(record.mask)].slot if record.mask else -1 for record in records]
        self._mask_N = np.array(slots, dtype=np.int64)
        self._spacing_N2 = np.array([_spacing(record, images, store.side) for record in records]).reshape(-1, 2)
        self._manifest = manifest

    def __len__(self) -> int:
        """Rows of the manifest."""
        return len(self._image_N)

    def images(self, rows_B: np.ndarray) -> np.ndarray:
        """Images of these rows of the manifest's records: uint8 (B, S, S), a copy."""
        return np.asarray(self._images_MSS[self._image_N[rows_B]])

    def has_mask(self, row: int) -> bool:
        """Whether the manifest names a mask for this row."""
        return bool(self._mask_N[row] >= 0)

    def masks(self, rows_B: np.ndarray) -> np.ndarray:
        """Masks of these rows: uint8 of 0 and 1, (B, S, S), a copy.

        Raises:
            DataError: A row has no mask.
        """
        slots_B = self._mask_N[rows_B]
        if (slots_B < 0).any():
            absent = [self._manifest.records[row] for row in np.asarray(rows_B)[slots_B < 0]]
            raise DataError([f"row {record.row}: {record.image} has no mask" for record in absent])
        return np.asarray(self._masks_MSS[slots_B])

    def spacing(self, rows_B: np.ndarray) -> np.ndarray:
        """Millimetres from one cached pixel to the next, down the rows and along the columns: float64 (B, 2), a copy.

        NaN where the manifest gives no spacing. A cached image is the whole original squeezed to a square, so the two
        differ where the original was no square; at a side E in place of S both are S / E times as large.
        """
        return np.asarray(self._spacing_N2[rows_B])


def open_cache(
    manifest: Manifest, *, folder: Path, side: int, progress: Callable[[int, int], None] | None = None
) -> ImageCache:
    """Decode whatever the folder lacks, then open it.

    Args:
        manifest: Its rows become the rows of the view, in order.
        folder: Made when missing; may be shared by processes and manifests. Needs side * side bytes an image and mask.
        side: Side in pixels of the squares kept, 1 to 4096.
        progress: Called with (sources done, sources to do) after each; not called when nothing is missing.

    Raises:
        ConfigError: `side` is out of range.
        DataError: Every image and mask that cannot be used (what could be decoded is kept, so that the next try is
            quick), a full disk (what was added since the last commit is removed), or a folder that cannot be written.
    """
    if not 1 <= side <= 4096:
        raise ConfigError(f"cache side is {side} pixels; it must be 1 to 4096")
    with open_store(folder, side=side) as store:
        failures = _build(store, _missing(store, manifest), progress)
        problems = _problems(store, manifest, failures)
        problems.raise_if_any(f"images of {manifest.path}")
        return ImageCache(store, manifest)


def _spacing(record: Record, images: Mapping[str, Entry], side: int) -> tuple[float, float]:
    """Millimetres a cached pixel, (rows, columns): what `side` pixels share is the original's height and width."""
    if record.spacing is None:
        return math.nan, math.nan
    original = images[str(record.image)]
    return record.spacing * original.height / side, record.spacing * original.width / side


def _missing(store: Store, manifest: Manifest) -> list[Job]:
    """Sources that are new, or whose size or time stamp differs from the index."""
    wanted: dict[Job, None] = {}
    for record in manifest.records:
        wanted["images", record.image] = None
        if record.mask:
            wanted["masks", record.mask] = None
    return [(kind, path) for kind, path in wanted if not _is_current(path, store.entries[kind].get(str(path)))]


def _is_current(path: Path, entry: Entry | None) -> bool:
    if entry is None:
        return False
    try:
        found = path.stat()
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns) == (entry.size, entry.mtime_ns)


def _build(store: Store, jobs: Sequence[Job], progress: Callable[[int, int], None] | None) -> dict[Job, str]:
    """Decode and add the jobs' sources; returns what is wrong with those that failed."""
    if not jobs:
        return {}
    store.reserve({kind: sum(job[0] == kind for job in jobs) for kind in KINDS})
    failures: dict[Job, str] = {}
    with bomb_warnings_off(), ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        for done, ((kind, path), outcome) in enumerate(_outcomes(store, jobs, threads), start=1):
            if isinstance(outcome, DataError):
                failures[kind, path] = str(outcome)
            elif (decoded := outcome[1]) is None:
                store.touch(kind, path, outcome[0])
            else:
                store.add(kind, path, outcome[0], decoded)
            if store.uncommitted >= max(COMMIT_EVERY, sum(map(len, store.entries.values())) // 4):
                store.commit()
            if progress:
                progress(done, len(jobs))
    store.commit()
    return failures


def _outcomes(store: Store, jobs: Sequence[Job], threads: ThreadPoolExecutor) -> Iterator[tuple[Job, Outcome]]:
    """Each job with what came of it, in order; threads serve, as Pillow lets go of the interpreter."""
    attempt = partial(_attempt, side=store.side)
    for start in range(0, len(jobs), AT_ONCE):
        some = jobs[start : start + AT_ONCE]
        known = [store.entries[kind].get(str(path)) for kind, path in some]
        yield from zip(some, threads.map(attempt, some, known), strict=True)


def _attempt(job: Job, entry: Entry | None, *, side: int) -> Outcome:
    """The source with its pixels, without them when the content is as before, or the error."""
    kind, path = job
    try:
        source = read_source(path)
        if entry is not None and entry.sha256 == source.sha256:
            return source._replace(content=b""), None
        decode = decode_image if kind == "images" else decode_mask
        decoded = decode(source.content, side=side)
    except DataError as error:
        return error
    return source._replace(content=b""), decoded


def _problems(store: Store, manifest: Manifest, failures: dict[Job, str]) -> RowProblems:
    """What failed, and masks of another size than their image, by row."""
    problems = RowProblems()
    for record in manifest.records:
        if text := failures.get(("images", record.image)):
            problems.add(f"image {record.image} {text}", row=record.row)
        if record.mask is None:
            continue
        if text := failures.get(("masks", record.mask)):
            problems.add(f"mask {record.mask} {text}", row=record.row)
        image = store.entries["images"].get(str(record.image))
        mask = store.entries["masks"].get(str(record.mask))
        if image and mask and (image.width, image.height) != (mask.width, mask.height):
            problems.add(
                f"mask {record.mask} is {mask.width} x {mask.height} pixels, its image {image.width} x {image.height}; "
                "export both at one size",
                row=record.row,
            )
    return problems
