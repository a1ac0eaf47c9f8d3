"""The cache's files: squares of uint8 appended to two flat files, and an index that says which are valid.

```
side-224/index.json    schema version, side, and for every source its slot, hash, size, time stamp, width, height
side-224/images.u8     slot after slot of side * side bytes
side-224/masks.u8
side-224/lock          held by whoever builds
```

Bytes that an index has named never change; new ones are appended, synced, and only then named by a new index that
replaces the old one in one step. So a kill at any moment leaves the last index valid, whoever has the files mapped goes
on reading, and the bytes behind the last named slot are cut off at the next start. A source that changed takes a new
slot; the old slot stays unused until the folder is deleted.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from core.atomic import TEMPORARY, sync_folder, write_atomically
from core.data.decode import Decoded, Source
from core.errors import DataError

SCHEMA = 1
INDEX_BYTES = 400
"""Room to allow for one source in the index, generously."""

Kind = Literal["images", "masks"]
KINDS: tuple[Kind, Kind] = ("images", "masks")

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One source file and where its pixels are."""

    slot: int
    sha256: str
    size: int
    """Bytes of the source file."""
    mtime_ns: int
    width: int
    height: int


class Store:
    """An open cache folder; made by `open_store`, which holds the lock."""

    def __init__(self, folder: Path, side: int) -> None:
        self.folder, self.side = folder, side
        self.entries: dict[Kind, dict[str, Entry]] = {"images": {}, "masks": {}}
        self._slots: dict[Kind, int] = {"images": 0, "masks": 0}
        self._committed = dict(self._slots)
        self._files: dict[Kind, BinaryIO] = {}

    @property
    def slot_bytes(self) -> int:
        """Bytes of one image or mask."""
        return self.side * self.side

    @property
    def uncommitted(self) -> int:
        """Slots that a kill would lose now."""
        return sum(self._slots.values()) - sum(self._committed.values())

    def load(self) -> None:
        """Read the index, drop leftovers, and start afresh where index and files do not fit together.

        Raises:
            DataError: The index is of a newer version of this program.
        """
        for leftover in self.folder.glob(f".*{TEMPORARY}"):
            leftover.unlink()
        if not self._read_index():
            self.clear()
        for kind in KINDS:
            if self._path(kind).exists():
                os.truncate(self._path(kind), self._slots[kind] * self.slot_bytes)

    def reserve(self, new: dict[Kind, int]) -> None:
        """Take the disk space for new slots now, so that a full disk is noticed before any work is done.

        Raises:
            DataError: There is not enough space.
        """
        needed = sum((self.slot_bytes + INDEX_BYTES) * count for count in new.values())
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise DataError(f"cache {self.folder}: {_size(needed)} are needed and {_size(free)} are free; {_REMEDY}")
        for kind, count in new.items():
            if count:
                file = self._files[kind] = self._path(kind).open("r+b" if self._path(kind).exists() else "w+b")
                start = self._slots[kind] * self.slot_bytes
                _allocate(file, start, count * self.slot_bytes)
                file.seek(start)

    def add(self, kind: Kind, path: Path, source: Source, decoded: Decoded) -> None:
        """Append pixels; they count once committed."""
        self._files[kind].write(decoded.pixels.tobytes())
        self.entries[kind][str(path)] = Entry(
            slot=self._slots[kind],
            sha256=source.sha256,
            size=source.size,
            mtime_ns=source.mtime_ns,
            width=decoded.width,
            height=decoded.height,
        )
        self._slots[kind] += 1

    def touch(self, kind: Kind, path: Path, source: Source) -> None:
        """Note a new time stamp of a source whose content is as before."""
        entry = self.entries[kind][str(path)]
        self.entries[kind][str(path)] = replace(entry, size=source.size, mtime_ns=source.mtime_ns)

    def commit(self) -> None:
        """Make everything added so far count."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.folder)
        document: dict[str, object] = {"schema": SCHEMA, "side": self.side, "slots": self._slots}
        for kind in KINDS:
            document[kind] = {path: asdict(entry) for path, entry in self.entries[kind].items()}
        write_atomically(self._index, json.dumps(document, separators=(",", ":")).encode())
        self._committed = dict(self._slots)

    def close(self) -> None:
        """Give back the space of what was not committed."""
        for kind, file in self._files.items():
            with contextlib.suppress(OSError):
                file.close()
            os.truncate(self._path(kind), self._committed[kind] * self.slot_bytes)
        self._files = {}
        if not self._index.exists():
            self.clear()

    def clear(self) -> None:
        """Remove everything; whoever has the files mapped keeps what was there."""
        for path in (self._index, *(self._path(kind) for kind in KINDS)):
            path.unlink(missing_ok=True)
        self.entries = {"images": {}, "masks": {}}
        self._slots = {"images": 0, "masks": 0}
        self._committed = dict(self._slots)

    def mapped(self, kind: Kind) -> np.ndarray:
        """The committed slots, read-only, (slots, side, side) uint8; pages come from disk as they are touched."""
        shape = (self._committed[kind], self.side, self.side)
        if not shape[0]:
            return np.empty(shape, np.uint8)
        return np.memmap(self._path(kind), np.uint8, mode="r", shape=shape)

    @property
    def _index(self) -> Path:
        return self.folder / "index.json"

    def _path(self, kind: Kind) -> Path:
        return self.folder / f"{kind}.u8"

    def _read_index(self) -> bool:
        """False when there is no index, or one that does not fit the files."""
        try:
            document = json.loads(self._index.read_bytes())
            if document["schema"] > SCHEMA:
                raise DataError(
                    f"cache {self.folder}: is of schema {document['schema']}, this program writes {SCHEMA}; "
                    "use another folder, or a newer program"
                )
            if document["schema"] != SCHEMA or document["side"] != self.side:
                return False
            self._slots = {kind: int(document["slots"][kind]) for kind in KINDS}
            self.entries = {kind: {path: Entry(**found) for path, found in document[kind].items()} for kind in KINDS}
        except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            return False
        self._committed = dict(self._slots)
        return all(self._fits(kind) for kind in KINDS)

    def _fits(self, kind: Kind) -> bool:
        path, slots = self._path(kind), self._slots[kind]
        there = path.stat().st_size if path.exists() else 0
        return there >= slots * self.slot_bytes and all(
            0 <= entry.slot < slots for entry in self.entries[kind].values()
        )


_REMEDY = "free some space, name another cache folder, or lower the image side"


@contextmanager
def open_store(folder: Path, *, side: int) -> Iterator[Store]:
    """Lock the folder for this side (a second builder waits), load what is there, and tidy up at the end.

    Raises:
        DataError: The folder cannot be written, or the disk is full; what was added since the last commit is removed.
    """
    place = folder / f"side-{side}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with (place / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the file is closed, by a kill too
            store = Store(place, side)
            store.load()
            try:
                yield store
            finally:
                store.close()
    except OSError as error:
        if error.errno in _FULL:
            raise DataError(f"cache {place}: the disk or a quota is full ({error.strerror}); {_REMEDY}") from error
        raise DataError(f"cache {place}: cannot be used ({error}); check the folder or name another one") from error


def _allocate(file: BinaryIO, start: int, count: int) -> None:
    """Reserve blocks where the file system can; elsewhere the writes themselves tell when the disk is full."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), start, count)
        except OSError as error:
            if error.errno in _FULL:
                raise


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < 10**6 else f"{count / 1e6:,.1f} MB"
