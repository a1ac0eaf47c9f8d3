"""Files that are whole or not there: written beside the target, flushed, then renamed over it."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from core.atomic import write_atomically
from core.errors import CheckpointError
from core.federation.tensors import digest_of

_FORMAT = {"<f8": "F64", "<f4": "F32", "<f2": "F16", "<i8": "I64", "<i4": "I32", "<u2": "U16", "|i1": "I8", "|u1": "U8"}
"""safetensors' word for each of NumPy's types that we keep."""


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Replace `path` atomically; on failure (a full disk) the old file stays and nothing half-written is left."""
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, *parts)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Indented JSON with a closing newline; NaN is refused, since it is not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def append_line(path: Path, line: str) -> None:
    """Make a file of lines end with `line`: append it unless it stands there, after cutting a line torn by a kill.

    An empty `line` does nothing; the file is flushed to the disk before this returns.
    """
    if not line:
        return
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        written = whole.splitlines()[-1:] == [line.encode()]
        if written and whole == content:
            return
        with path.open("r+b" if content else "wb") as file:
            file.truncate(len(whole))
            file.seek(len(whole))
            if not written:
                file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def save_tensors(path: Path, tensors: Mapping[str, npt.NDArray[np.generic]], *, meta: Mapping[str, Any]) -> None:
    """Safetensors with a JSON document in its header, in which `seal` is a digest of both, atomically.

    The same tensors and document give the same bytes. The tensors are written as they lie in memory: safetensors' own
    function would copy all of them twice.

    Raises:
        CheckpointError: The file cannot be written, or an array is of a type that the format does not know.
    """
    arrays = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    content = json.loads(json.dumps(meta))
    sealed = json.dumps({**content, "seal": _seal(arrays, content)}, sort_keys=True)
    header: dict[str, Any] = {"__metadata__": {"document": sealed}}
    end = 0
    # The order of safetensors: wide values first, so that all are aligned.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    for name in names:
        value = arrays[name]
        if value.dtype.str not in _FORMAT:
            raise CheckpointError(f"{path}: {name} is {value.dtype}, which safetensors does not know")
        start, end = end, end + value.nbytes
        header[name] = {"dtype": _FORMAT[value.dtype.str], "shape": value.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    bodies = (arrays[name].reshape(-1).view(np.uint8).data for name in names)
    write_bytes(path, len(text).to_bytes(8, "little"), text, *bodies)


def load_tensors(path: Path, *, schema: int) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """What `save_tensors` wrote; raises CheckpointError when it is damaged or of another schema version."""
    try:
        with safe_open(path, framework="numpy") as file:
            meta = json.loads((file.metadata() or {})["document"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- no mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); remove it to start over") from error
    if not isinstance(meta, dict) or meta.pop("seal", "") != _seal(tensors, meta):
        raise CheckpointError(f"{path}: differs from what was written; remove it to start over")
    if meta.get("schema_version") != schema:
        found = meta.get("schema_version")
        raise CheckpointError(f"{path}: schema version {found}, this code reads {schema}; use the matching version")
    return tensors, meta


def _seal(tensors: Mapping[str, npt.NDArray[np.generic]], content: Mapping[str, Any]) -> str:
    """SHA-256 over the document and the tensors: finds accidents, not a forger."""
    return hashlib.sha256(f"{digest_of(tensors)}|{json.dumps(content, sort_keys=True)}".encode()).hexdigest()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror}); free space or fix the folder") from error
