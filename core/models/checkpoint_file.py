"""A weights file as plain tensors, whoever wrote it: nothing in it is executed.

Safetensors is preferred. A pickle is read by torch's restricted unpickler only, which builds tensors and plain
containers and refuses every other class.
"""

import argparse
import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from core.errors import CheckpointError
from core.files import load_tensors

RELEASE_SCHEMA = 1
"""Version of the document in the header of an encoder that we release."""
PICKLES = (".pth", ".pt", ".bin")
"""Endings of files that torch's restricted unpickler reads."""
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """What a file holds."""

    content: Mapping[Any, Any]
    """Tensors by name, or a wrapper with mappings of tensors among other things."""
    document: Mapping[str, Any] | None
    """The document of one of our own releases; None for any other file."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read piece by piece.

    Raises:
        CheckpointError: it is no file, is empty, or cannot be read.
    """
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder; name the weights file in it")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); correct the path") from error
    if size == 0:
        raise CheckpointError(f"{path}: is empty; copy or download it again")
    return digest


def read_checkpoint(path: Path) -> CheckpointFile:
    """The content of a `.safetensors`, `.pth`, `.pt` or `.bin` file, on the CPU.

    Raises:
        CheckpointError: it is no such file, is damaged, or holds more than tensors and plain values.
    """
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix in PICKLES:
        return CheckpointFile(content=_unpickled(path), document=None)
    raise CheckpointError(f"{path}: ends in none of .safetensors, {', '.join(PICKLES)}; rename or convert it")


def _safetensors(path: Path) -> CheckpointFile:
    with _reading(path), safe_open(path, framework="pt") as file:
        document = _document((file.metadata() or {}).get("document", ""))
        if document is None:
            names = list(file.keys())
            return CheckpointFile(content={name: file.get_tensor(name) for name in names}, document=None)
    version = document.get("schema_version")
    if version != RELEASE_SCHEMA:
        raise CheckpointError(f"{path}: release schema {version!r}, this code reads {RELEASE_SCHEMA}; upgrade one side")
    try:
        arrays, document = load_tensors(path, schema=RELEASE_SCHEMA)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: differs from what was released; copy or download it again") from error
    return CheckpointFile(content={name: torch.from_numpy(value) for name, value in arrays.items()}, document=document)


def _document(text: str) -> dict[str, Any] | None:
    """The header's document if it is that of a release of ours."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "encoder" in found else None


def _unpickled(path: Path) -> Mapping[Any, Any]:
    with path.open("rb") as file:
        start = file.read(4)
    if start != _ZIP and not start.startswith(_PICKLE):
        raise CheckpointError(f"{path}: is no PyTorch checkpoint, whatever its name says; copy or download it again")
    with _reading(path):
        if zipfile.is_zipfile(path):
            _refuse_bomb(path)
        # Many trainers save their command line beside the weights; a Namespace only holds values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, no tensors by name; save a state_dict")
    return content


def _refuse_bomb(path: Path) -> None:
    """Torch writes its archives uncompressed, so one that would grow was made by somebody else."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > (size := path.stat().st_size):
        raise ValueError(f"it unpacks to {unpacked} bytes and has {size}")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever a parser raises on a hostile file into one sentence."""
    try:
        yield
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f"the class or function {found[1][:80]!r}" if found else "more than tensors and plain values"
        remedy = "ask who made it for safetensors"
        raise CheckpointError(f"{path}: the pickle asks for {what}; nothing of it was run: {remedy}") from error
    except Exception as error:  # a parser that is fed nonsense may raise anything
        first = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0][:120]
        raise CheckpointError(
            f"{path}: cannot be read ({first}); it is damaged, or no {path.suffix} file: copy or download it again"
        ) from error
