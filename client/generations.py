"""The optimizer's moments at the site, in two generations.

A round's moments are written as `pending`, bound to (round, base digest, update digest), and become `committed` only
when the server says that it folded that very update. A refused, late or repeated round starts from `committed` again,
so every site's moments describe the path that the global model really took.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from core.federation.update import Folded
from core.files import load_tensors, save_tensors

SCHEMA_VERSION = 1
Moments = dict[str, npt.NDArray[Any]]


class Generations:
    """Two files in one folder."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made when the first generation is written."""
        self._pending = folder / "moments.pending.safetensors"
        self._committed = folder / "moments.committed.safetensors"

    def settle(self, folded: Folded | None) -> Moments:
        """Commit the pending generation if it is what the server folded, else drop it; give the moments to start from.

        They are empty when neither generation belongs to the folded update: at the start of a study, after one that
        was given up in the same folder, or when either side lost its files.
        """
        if self._pending.exists():
            moments, meta = load_tensors(self._pending, schema=SCHEMA_VERSION)
            if _belongs(meta, folded):
                self._pending.replace(self._committed)
                return moments
            self._pending.unlink()
        if not self._committed.exists():
            return {}
        moments, meta = load_tensors(self._committed, schema=SCHEMA_VERSION)
        return moments if _belongs(meta, folded) else {}

    def propose(self, moments: Moments, *, number: int, base_digest: str, update_digest: str) -> None:
        """Write the moments after round `number` as pending."""
        meta = {"schema_version": SCHEMA_VERSION, "round": number, "base": base_digest, "update": update_digest}
        save_tensors(self._pending, moments, meta=meta)


def _belongs(meta: Mapping[str, Any], folded: Folded | None) -> bool:
    return folded is not None and (meta["round"], meta["update"]) == (folded.round, folded.digest)
