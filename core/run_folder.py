"""The folder of a run: who may write there, what a resumed run must find again, how it is cleared."""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from core.errors import CheckpointError, ConfigError, RunExists
from core.files import write_text

LOCK = ".lock"
"""Held in the run's folder by the process that writes there."""
CONFIG = "config.yaml"
"""The resolved configuration; a folder that has one holds a run."""


def check_folder(folder: Path, text: str, *, resume: bool, overwrite: bool, elsewhere: str) -> None:
    """Whether the flags fit what is there.

    Args:
        folder: The run's.
        text: The resolved configuration of the run that is to be made or resumed.
        resume: Whether to go on with the run that is there.
        overwrite: Whether to remove it first.
        elsewhere: How another folder is chosen, for the message: `choose another name=NAME`.

    Raises:
        ConfigError: The flags contradict each other, or there is nothing to resume.
        RunExists: Something is there that would be overwritten.
        CheckpointError: The run that is there has another configuration.
    """
    saved = folder / CONFIG
    if resume and overwrite:
        raise ConfigError("--resume goes on with a run and --overwrite removes it; give one of them")
    if overwrite and taken(folder) and not saved.exists():
        raise RunExists(f"{folder} holds no run (no {CONFIG}), so --overwrite does not touch it; {elsewhere}")
    if resume and not saved.exists():
        raise ConfigError(f"{folder}: there is no run to resume; leave --resume out to start one")
    if resume and _read(saved) != text:
        raise CheckpointError(
            f"{saved} differs from this configuration; resume with the same one:\n{_difference(saved, text)}"
        )
    if not resume and not overwrite and taken(folder):
        raise RunExists(f"{folder} exists; {elsewhere}, or --resume to go on with it")


def taken(folder: Path) -> bool:
    """Whether something is there; an empty folder, or one with the lock only, is what a kill at the start leaves."""
    return folder.exists() and (not folder.is_dir() or any(path.name != LOCK for path in folder.iterdir()))


def check_inputs(path: Path, digests: Mapping[str, str]) -> None:
    """Keep the digests of what a run starts from at its start, and refuse to go on with others."""
    text = json.dumps(dict(digests), indent=2) + "\n"
    if not path.exists():
        write_text(path, text)
    elif _read(path) != text:
        raise CheckpointError(f"{path}: data, code or torch changed since the run began; start a new run")


def clear(folder: Path) -> None:
    """Remove a run, its configuration last, so that a removal that was interrupted can be repeated."""
    try:
        for path in sorted(folder.iterdir(), key=lambda path: path.name == CONFIG):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
    except OSError as error:
        raise CheckpointError(f"{error.filename}: cannot be removed ({error.strerror}); fix the folder") from error


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); --overwrite starts over") from error


def _difference(saved: Path, text: str) -> str:
    before, after = _read(saved).splitlines(), text.splitlines()
    gone = [f"  saved: {line.strip()}" for line in before if line not in after]
    return "\n".join(gone + [f"  now:   {line.strip()}" for line in after if line not in before])


@contextmanager
def alone_in(folder: Path, *, elsewhere: str = "choose another runs=FOLDER") -> Iterator[None]:
    """Make and hold a folder, so that a second process does not write into it.

    Raises:
        ConfigError: It cannot be made or written; `elsewhere` says how to choose another.
        RunExists: Another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / LOCK).open("w")
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made or written ({error.strerror}); {elsewhere}") from error
    with handle as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunExists(f"{folder} is in use by another process") from error
        yield
