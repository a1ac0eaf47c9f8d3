"""Admitted updates wait on disk and are folded in site order.

Float sums depend on order, so the fold waits for the round to close; memory is one tensor's sum and one block of one
site, whatever the number of sites. The file has no name: it vanishes with the process.
"""

import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import CheckpointError
from core.federation.codec import Codec, Elementwise, is_elementwise

Real = npt.NDArray[np.float64]
Place = tuple[int, np.dtype[Any], tuple[int, ...]]
"""Offset in the file, dtype, shape."""
BLOCK = 32_768
"""Values folded at once."""


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
            self._file.write(value.reshape(-1).view(np.uint8).data)
        self._file.flush()
        return places

    @property
    def sites(self) -> list[str]:
        """Who is in, in the order of the fold."""
        return sorted(self._places)

    def place(self, site: str, name: str) -> Place:
        """Where one tensor of one site lies."""
        return self._places[site][name]

    def read_into(self, out: npt.NDArray[Any], *, offset: int) -> None:
        """Fill a flat array from the file; raises CheckpointError when it cannot be read."""
        if out.nbytes and os.preadv(self._file.fileno(), [out.view(np.uint8).data], offset) != out.nbytes:
            raise CheckpointError("the spooled updates cannot be read back: the temporary file is shorter than written")

    def read(self, site: str, name: str) -> npt.NDArray[Any]:
        """One tensor of one site."""
        offset, dtype, shape = self._places[site][name]
        values = np.empty(math.prod(shape), dtype)
        self.read_into(values, offset=offset)
        return values.reshape(shape)


class Mean(Mapping[str, Real]):
    """The weighted mean difference of the sites in a spool: sum_S w[k] delta_k / sum_S w[k], in float64.

    A tensor is folded when it is asked for, while the spool is open, so that never more than one needs to be kept.
    """

    def __init__(
        self, spool: Spool, *, weights: Mapping[str, float], base: Mapping[str, npt.NDArray[Any]], codec: Codec
    ) -> None:
        """Of every site in the spool; `base` is the model that they started from."""
        total = sum(weights[site] for site in spool.sites)
        self._shares = {site: weights[site] / total for site in spool.sites}
        self._spool, self._base, self._codec = spool, base, codec

    def __iter__(self) -> Iterator[str]:
        """Names, sorted."""
        return iter(sorted(self._base))

    def __len__(self) -> int:
        """Tensors."""
        return len(self._base)

    def __getitem__(self, name: str) -> Real:
        """One tensor's sum, in site order."""
        base = self._base[name]
        mean = np.zeros(base.shape, np.float64)
        if is_elementwise(self._codec):
            self._fold_blocks(mean.reshape(-1), name, base.reshape(-1), self._codec)
            return mean
        for site, share in self._shares.items():
            mean += share * self._codec.decode(self._spool.read(site, name), base)
        return mean

    def _fold_blocks(self, mean: Real, name: str, base: npt.NDArray[Any], codec: Elementwise) -> None:
        """Block by block over all sites, so that a block of the sum stays in a core's cache until it is done."""
        size = min(BLOCK, base.size)
        delta, own, wire = np.empty(size), np.empty(size), np.empty(size, codec.dtype)
        offsets = [(self._spool.place(site, name)[0], share) for site, share in self._shares.items()]
        with np.errstate(invalid="ignore"):  # signalling NaN; admission let none through
            for start in range(0, base.size, BLOCK):
                place = slice(start, min(start + BLOCK, base.size))
                short = slice(0, place.stop - start)
                np.copyto(own[short], base[place])
                for offset, share in offsets:
                    self._spool.read_into(wire[short], offset=offset + start * wire.itemsize)
                    codec.decode_into(delta[short], wire=wire[short], base=own[short])
                    np.multiply(delta[short], share, out=delta[short])
                    np.add(mean[place], delta[short], out=mean[place])
