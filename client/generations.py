"""What a site keeps from one round to the next, in two generations: the optimizer's moments, the codec's residual.

What a round leaves is written as `pending`, bound to (round, base digest, update digest), and becomes `committed` only
when the server says that it folded that very update. A refused, late or repeated round starts from `committed` again,
so every site's moments describe the path that the global model really took, and no rounding error is added twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from core.federation.update import Folded
from core.files import load_tensors, save_tensors

SCHEMA_VERSION = 1
RESIDUAL = "residual/"
"""Begins the names of the residual's tensors in the file; no tensor of a model has a slash in its name."""
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What the last folded round of a site left."""

    moments: Arrays = field(default_factory=dict)
    """Optimizer state, named `parameter/slot`."""
    residual: Arrays = field(default_factory=dict)
    """What the codec's rounding left over of each tensor, float32, in parameter units; empty for most codecs."""


class Generations:
    """Two files in one folder."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made when the first generation is written."""
        self._pending = folder / "moments.pending.safetensors"
        self._committed = folder / "moments.committed.safetensors"

    def settle(self, folded: Folded | None) -> Kept:
        """Commit the pending generation if it is what the server folded, else drop it; give what to start from.

        It is empty when neither generation belongs to the folded update: at the start of a study, after one that
        was given up in the same folder, or when either side lost its files.
        """
        if self._pending.exists():
            arrays, meta = load_tensors(self._pending, schema=SCHEMA_VERSION)
            if _belongs(meta, folded):
                self._pending.replace(self._committed)
                return _kept(arrays)
            self._pending.unlink()
        if not self._committed.exists():
            return Kept()
        arrays, meta = load_tensors(self._committed, schema=SCHEMA_VERSION)
        return _kept(arrays) if _belongs(meta, folded) else Kept()

    def propose(self, kept: Kept, *, number: int, base_digest: str, update_digest: str) -> None:
        """Write what round `number` leaves as pending."""
        meta = {"schema_version": SCHEMA_VERSION, "round": number, "base": base_digest, "update": update_digest}
        residual = {f"{RESIDUAL}{name}": value for name, value in kept.residual.items()}
        save_tensors(self._pending, kept.moments | residual, meta=meta)


def _kept(arrays: Arrays) -> Kept:
    """A file's tensors, told apart by their names."""
    residual = {name.removeprefix(RESIDUAL): value for name, value in arrays.items() if name.startswith(RESIDUAL)}
    return Kept(
        moments={name: value for name, value in arrays.items() if not name.startswith(RESIDUAL)}, residual=residual
    )


def _belongs(meta: Mapping[str, Any], folded: Folded | None) -> bool:
    return folded is not None and (meta["round"], meta["update"]) == (folded.round, folded.digest)
