"""A folder of keys that is there whole or not at all, and small files that somebody sent."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.atomic import TEMPORARY, sync_folder, write_atomically
from core.errors import SecurityError

LONGEST = 64 * 1024
"""Bytes of a file that is read here."""


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill a folder beside `path` (mode 0700) and rename it at the end: keys that were used are never overwritten.

    Args:
        path: The folder to be; nothing is there yet.

    Yields:
        The folder to fill; it is removed when filling it fails.

    Raises:
        SecurityError: Something is at `path` already, or it cannot be made.
    """
    path = path.absolute()
    _refuse(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        yield unfinished
        _refuse(path)
        sync_folder(unfinished)
        unfinished.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise SecurityError(f"{path}: cannot be made ({error.strerror}); free space or give another folder") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_file(path: Path, *, remedy: str) -> bytes:
    """The content of a small file from elsewhere.

    Args:
        path: A plain file of at most 64 KiB.
        remedy: Ends the sentence when it cannot be read.

    Raises:
        SecurityError: It is missing, too long, or no plain file.
    """
    try:
        # Not blocking: a pipe in the file's place would hold the program for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            content = file.read(LONGEST + 1) if plain else b""
    except OSError as error:
        raise SecurityError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    if not plain or len(content) > LONGEST:
        raise SecurityError(f"{path}: no plain file of at most {LONGEST} bytes; {remedy}")
    return content


def write_file(path: Path, content: bytes, *, fresh: bool = False) -> None:
    """Write a file that may be read by everybody, atomically; with `fresh`, never in place of another.

    Raises:
        SecurityError: It cannot be written, or is there although it must be fresh.
    """
    if fresh and (path.is_symlink() or path.exists()):
        raise SecurityError(f"{path}: there is a file already; give another name or move it away")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise SecurityError(f"{path}: cannot be written ({error.strerror}); free space or fix the folder") from error


def _refuse(path: Path) -> None:
    if os.path.lexists(path):
        raise SecurityError(
            f"{path}: there is something already, and keys are never overwritten; give a new folder, or move it away"
        )
