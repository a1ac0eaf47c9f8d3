"""The manifest: one row an image, the only description of a data set that the rest of the project reads.

Columns `image`, `organ`, `patient` are required; `mask`, `label`, `site`, `device`, `dataset`, `split`, `licence`,
`spacing` are optional, and any other column is ignored, unless it looks like a misspelling of one of these. Paths are relative to the
manifest, or absolute. Only names, sizes and file types are looked at here; pixels are read when the cache is built.
"""

import csv
import difflib
import io
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.atomic import write_atomically
from core.data.organs import UNKNOWN, organ_names, suggest
from core.data.problems import RowProblems, name_rows
from core.data.table import read_rows
from core.errors import DataError

REQUIRED = ("image", "organ", "patient")
OPTIONAL = ("mask", "label", "site", "device", "dataset", "split", "licence", "spacing")
COLUMNS = REQUIRED + OPTIONAL
MAX_SPACING = 10.0
"""Millimetres a pixel; more is a mistake of the unit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One image; text is empty where the manifest says nothing."""

    image: Path
    """Absolute."""
    organ: str
    """A name of `configs/organs.yaml`, or `unknown`."""
    patient: str
    """What splits, sampling, weights and statistics never divide."""
    mask: Path | None = None
    """Absolute; None where there is no mask."""
    label: str = ""
    site: str = ""
    device: str = ""
    dataset: str = ""
    split: str = ""
    licence: str = ""
    spacing: float | None = None
    """Millimetres from one pixel of the original file to the next, along rows and columns alike; above 0, below 10.
    None where it is not known."""
    row: int = field(default=0, compare=False)
    """Row of the manifest file, its header being row 1; 0 when it came from no file. For messages only."""


@dataclass(frozen=True)
class Manifest:
    """The records of one file, or of a selection from it."""

    path: Path
    """The file, for messages."""
    records: tuple[Record, ...]

    def patients_by_organ(self) -> dict[str, int]:
        """Organ -> number of distinct patients, sorted by organ; `unknown` is left out."""
        pairs = {(record.organ, record.patient) for record in self.records if record.organ != UNKNOWN}
        counts: dict[str, int] = {}
        for organ, _ in sorted(pairs):
            counts[organ] = counts.get(organ, 0) + 1
        return counts

    def select(self, keep: Callable[[Record], bool]) -> "Manifest":
        """The manifest of the records that `keep` says yes to, in the same order."""
        return Manifest(path=self.path, records=tuple(record for record in self.records if keep(record)))


def load_manifest(path: Path) -> Manifest:
    """Read a CSV (UTF-8, with or without byte order mark) or Parquet file.

    Raises:
        DataError: Everything that is wrong with the file, with row numbers (the header is row 1): a missing column or
            file, an empty cell, a word that is no organ, an image listed twice, a patient of two sites, ...
    """
    problems = RowProblems()
    rows = read_rows(path, problems)
    header = next(rows, (1, []))[1]
    _check_header(header, problems)
    problems.raise_if_any(f"manifest {path}")
    records = list(_records(path, header, rows, problems))
    _check_unique(records, problems)
    _check_sites(records, problems)
    if not records and not problems:
        problems.add("no images are listed below the header; add one row an image")
    problems.raise_if_any(f"manifest {path}")
    return Manifest(path=path, records=tuple(records))


def write_manifest(records: Iterable[Record], path: Path) -> None:
    """Write CSV, whole or not at all; paths below the manifest's folder are written relative to it, others absolute.

    Raises:
        DataError: The file cannot be written, for example because the disk is full.
    """
    folder = path.absolute().parent
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        cells = {name: getattr(record, name) for name in COLUMNS}
        cells["image"] = _portable(record.image, folder)
        cells["mask"] = _portable(record.mask, folder) if record.mask else ""
        cells["spacing"] = "" if record.spacing is None else repr(record.spacing)
        writer.writerow(cells.values())
    try:
        write_atomically(path, text.getvalue().encode())
    except (OSError, UnicodeEncodeError) as error:
        raise DataError(f"{path}: the manifest cannot be written ({error}); check the folder and its space") from error


def _portable(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _check_header(header: Sequence[str], problems: RowProblems) -> None:
    if len(header) == 1 and (separator := next((mark for mark in ";\t|" if mark in header[0]), None)):
        problems.add(f"columns are separated by {separator!r}; save the file with commas", row=1)
        return
    for name in sorted({name for name in header if header.count(name) > 1 and name in COLUMNS}):
        problems.add(f"column {name!r} is there twice; keep one", row=1)
    absent = [name for name in COLUMNS if name not in header]
    for name in header:
        meant = difflib.get_close_matches(name.casefold(), absent, n=1, cutoff=0.8)
        if name not in COLUMNS and meant:
            problems.add(f"column {name!r} is not known; did you mean {meant[0]!r}? Rename it, or remove it", row=1)
    for name in (name for name in absent if name in REQUIRED):
        problems.add(f"column {name!r} is missing; required are {', '.join(REQUIRED)}", row=1)


def _records(
    path: Path, header: Sequence[str], rows: Iterator[tuple[int, list[str]]], problems: RowProblems
) -> Iterator[Record]:
    folder, organs = path.absolute().parent, {*organ_names(), UNKNOWN}
    for row, cells in rows:
        if len(cells) != len(header):
            problems.add(f"has {len(cells)} cells where the header has {len(header)}; check commas and quotes", row=row)
            continue
        values = {name: cell for name, cell in zip(header, cells, strict=True) if name in COLUMNS}
        for name in REQUIRED:
            if not values[name]:
                problems.add(f"{name!r} is empty; fill it in or remove the row", row=row)
        if values["organ"] and values["organ"] not in organs:
            problems.add(_no_organ(values["organ"]), row=row)
        image = _file(folder, values["image"], row, "image", problems)
        mask = _file(folder, values.get("mask", ""), row, "mask", problems)
        spacing = _spacing(values.get("spacing", ""), row, problems)
        rest = {name: text for name, text in values.items() if name not in ("image", "mask", "spacing")}
        yield Record(image=image or folder, mask=mask, spacing=spacing, row=row, **rest)


def _no_organ(word: str) -> str:
    meant = suggest(word)
    remedy = f"did you mean {meant!r}?" if meant else f"see configs/organs.yaml, or write {UNKNOWN!r}"
    return f"{word!r} is no organ of the vocabulary; {remedy}"


def _spacing(cell: str, row: int, problems: RowProblems) -> float | None:
    """Millimetres a pixel; None where the cell is empty or no such number."""
    if not cell:
        return None
    try:
        value = float(cell) if "_" not in cell else math.nan  # Python would read 0_1 as 1
    except ValueError:
        value = math.nan
    if 0 < value < MAX_SPACING:
        return value
    wanted = f"one number above 0 and below {MAX_SPACING:g}, such as 0.2"
    problems.add(f"spacing {cell!r} is no distance of pixels in millimetres; give {wanted}, or leave it empty", row=row)
    return None


def _file(folder: Path, cell: str, row: int, column: str, problems: RowProblems) -> Path | None:
    """The absolute path of a cell; None where the cell is empty."""
    if not cell:
        return None
    path = Path(os.path.normpath(folder / cell))
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL inside the path
        hint = "; write paths with '/'" if "\\" in cell else "; paths are relative to the manifest"
        reason = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be reached ({error})"
        problems.add(f"{column} {cell} {reason}{hint}", row=row)
        return path
    if stat.S_ISDIR(found.st_mode):
        problems.add(f"{column} {cell} is a folder; name a file", row=row)
    elif not stat.S_ISREG(found.st_mode):
        problems.add(f"{column} {cell} is not a regular file", row=row)
    elif found.st_size == 0:
        problems.add(f"{column} {cell} has zero bytes; export it again or remove the row", row=row)
    return path


def _check_unique(records: Sequence[Record], problems: RowProblems) -> None:
    first: dict[Path, int] = {}
    for record in records:
        if (earlier := first.setdefault(record.image, record.row)) != record.row and record.image.is_file():
            problems.add(f"image {record.image} is also in row {earlier}; keep one of them", row=record.row)


def _check_sites(records: Sequence[Record], problems: RowProblems) -> None:
    """A patient belongs to one hospital, or patients would be divided between train and test of two sites."""
    if not any(record.site for record in records):
        return
    rows_of: dict[str, dict[str, list[int]]] = {}
    for record in records:
        if record.patient:
            rows_of.setdefault(record.patient, {}).setdefault(record.site, []).append(record.row)
    for patient, sites in rows_of.items():
        if len(sites) > 1:
            named = ", ".join(f"{site or 'none'} ({name_rows(rows)})" for site, rows in sites.items())
            problems.add(f"patient {patient!r} is in more than one site: {named}; a patient has one site")
