"""Files that are there whole or not at all."""

import contextlib
import os
from pathlib import Path

TEMPORARY = ".part"
"""Ends the name of a file that is still being written."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, sync, rename, sync the folder: a kill leaves the old file or the new one.

    Raises:
        OSError: The disk is full or the folder not writable; what was written so far is removed.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
