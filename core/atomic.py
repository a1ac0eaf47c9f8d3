"""Files that are there whole or not at all."""

import contextlib
import os
from pathlib import Path

TEMPORARY = ".part"
"""Ends the name of a file that is still being written."""


def write_atomically(path: Path, *parts: bytes | memoryview, mode: int = 0o666) -> None:
    """Write the parts beside `path`, sync, rename, sync the folder: a kill leaves the old file or the new one.

    Args:
        path: The file; its folder is there.
        parts: Its content, one after the other.
        mode: Permissions of the file from its first byte on, less what the process's umask takes away.

    Raises:
        OSError: The disk is full or the folder not writable; what was written so far is removed.
    """
    short = os.fsdecode(os.fsencode(path.name)[:200])  # a name may have 255 bytes, and what is added must fit too
    unfinished = path.with_name(f".{short}.{os.getpid()}{TEMPORARY}")
    try:
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
