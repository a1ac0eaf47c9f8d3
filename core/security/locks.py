"""A lock between processes, which ends with its holder: a kill leaves no stale lock."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import SecurityError

PAUSE = 0.02
"""Seconds between two tries."""


@contextmanager
def locked(path: Path, *, patience: float = 10.0) -> Iterator[None]:
    """Hold the lock of `path` (a file `<name>.lock` beside it, which stays).

    Args:
        path: What is protected.
        patience: Seconds to wait for another process; 0 tries once.

    Raises:
        SecurityError: Another process holds it for longer, or the folder is not writable.
    """
    beside = path.with_name(f"{path.name}.lock")
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SecurityError(f"{beside}: cannot be made ({error.strerror}); fix the folder's permissions") from error
    try:
        _wait(handle, path, patience)
        yield
    finally:
        os.close(handle)


def _wait(handle: int, path: Path, patience: float) -> None:
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise SecurityError(f"{path}: another process is using it; stop that one, or try again") from error
            time.sleep(PAUSE)
        else:
            return
