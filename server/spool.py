"""Admitted updates wait on disk and are folded in site order.

Float sums depend on order, so the fold waits for the round to close; memory is one accumulator and one tensor of one
site, whatever the number of sites. The file has no name: it vanishes with the process.
"""

import tempfile
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import CheckpointError
from core.federation.codec import Codec

Real = npt.NDArray[np.float64]
Place = tuple[int, np.dtype[Any], tuple[int, ...]]
"""Offset in the file, dtype, shape."""


class Spool:
    """A round's updates. Use as a context manager."""

    def __init__(self) -> None:
        """Open the unlinked temporary file."""
        # Closed in __exit__: the file lives as long as this object.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._places: dict[str, dict[str, Place]] = {}

    def __enter__(self) -> "Spool":
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, which deletes."""
        self._file.close()

    def add(self, site: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep one site's arrays; raises CheckpointError when the disk is full."""
        try:
            self._places[site] = self._append(arrays)
        except OSError as error:
            folder = tempfile.gettempdir()
            raise CheckpointError(
                f"{folder}: site {site}'s update cannot be spooled ({error.strerror}); free space"
            ) from error

    def _append(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Place]:
        places = {}
        self._file.seek(0, 2)
        for name in sorted(arrays):
            value = np.asarray(arrays[name], order="C")
            places[name] = (self._file.tell(), value.dtype, value.shape)
            self._file.write(value.tobytes())
        self._file.flush()
        return places

    @property
    def sites(self) -> list[str]:
        """Who is in, in the order of the fold."""
        return sorted(self._places)

    def by_site(self, name: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """One tensor of every site, in site order."""
        for site in self.sites:
            offset, dtype, shape = self._places[site][name]
            self._file.seek(offset)
            size = dtype.itemsize * int(np.prod(shape))
            yield site, np.frombuffer(self._file.read(size), dtype=dtype).reshape(shape)


def fold(
    spool: Spool, *, weights: Mapping[str, float], base: Mapping[str, npt.NDArray[Any]], codec: Codec
) -> dict[str, Real]:
    """The weighted mean difference over the sites in the spool, in float64: sum_S w[k] delta_k / sum_S w[k]."""
    total = sum(weights[site] for site in spool.sites)
    mean: dict[str, Real] = {}
    for name in sorted(base):
        tensor = np.zeros(base[name].shape, np.float64)
        for site, wire in spool.by_site(name):
            tensor += (weights[site] / total) * codec.decode(wire, base[name])
        mean[name] = tensor
    return mean
