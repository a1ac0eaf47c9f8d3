"""What travels: an instruction down, an update up."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from core.errors import UpdateRejected
from core.federation.codec import Codec, is_elementwise
from core.federation.tensors import Spec, Tensors, problems_with

BLOCK = 32_768
"""Values decoded at once: their float64 form stays in a core's cache."""
DOT = 8192
"""Values of one scalar product: so few that BLAS starts no threads, whose number would change the sum's bits."""
METRICS = ("loss", "spatial", "frequency", "images", "seconds")
"""The scalars a site may report: mean losses over the round, images seen, seconds trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Folded:
    """The last update of a site that the server folded: what its optimizer state may be committed for."""

    round: int
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruction:
    """Train one round from this model."""

    plan_digest: str
    round: int
    """Counted from 0."""
    base: Tensors
    folded: Folded | None
    """None until an update of this site was folded."""
    receipt: str = ""
    """The previous round's receipt, one JSON line; empty before the first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """A site's answer: the plan's tensors in the codec's form, and metrics from the allow-list. It has no weight."""

    site: str
    plan_digest: str
    round: int
    base_digest: str
    arrays: dict[str, npt.NDArray[np.generic]]
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A site's answer when it sits a round out."""

    site: str
    round: int
    reason: str


def check_arrays(arrays: Mapping[str, npt.NDArray[np.generic]], *, spec: Spec, codec: Codec) -> None:
    """Names, shapes and dtypes as planned, or UpdateRejected."""
    found = problems_with(arrays, {name: codec.wire_shape(shape) for name, shape in spec.items()})
    found += [
        f"{name} is {value.dtype}, the plan's codec sends {codec.dtype}"
        for name, value in sorted(arrays.items())
        if value.dtype != codec.dtype
    ]
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise UpdateRejected(f"{found[0]}{more}; the client does not run the study's plan")


def difference_norm(arrays: Mapping[str, npt.NDArray[np.generic]], *, base: Tensors, codec: Codec) -> float:
    """L2 norm of the difference over all tensors, in parameter units; raises UpdateRejected on NaN or infinity.

    The sum runs in blocks, so its bits depend on no BLAS threads; a value that is not finite makes it not finite.
    """
    squares = 0.0
    for name in sorted(arrays):
        for delta in differences(arrays[name], base[name], codec):
            parts = (delta[start : start + DOT] for start in range(0, delta.size, DOT))
            squares += sum(float(np.dot(part, part)) for part in parts)
        if not math.isfinite(squares):
            raise UpdateRejected(f"{name} holds NaN or infinity; the site's training diverged")
    return math.sqrt(squares)


def differences(
    wire: npt.NDArray[np.generic], base: npt.NDArray[np.float32], codec: Codec
) -> Iterator[npt.NDArray[np.float64]]:
    """One tensor's decoded differences, flat, block after block; a block is gone when the next is asked for."""
    if not is_elementwise(codec):
        yield codec.decode(wire, base).reshape(-1)
        return
    flat_wire, flat_base = wire.reshape(-1), base.reshape(-1)
    block = np.empty(min(BLOCK, flat_base.size))
    with np.errstate(invalid="ignore"):  # signalling NaN
        for start in range(0, flat_base.size, BLOCK):
            place = slice(start, min(start + BLOCK, flat_base.size))
            part = block[: place.stop - start]
            codec.decode_into(part, wire=flat_wire[place], base=flat_base[place])
            yield part


def check_metrics(metrics: Mapping[str, float]) -> None:
    """Only allow-listed, finite scalars, or UpdateRejected."""
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown:
        raise UpdateRejected(f"metric {unknown[0]!r} is not on the allow-list ({', '.join(METRICS)})")
    wild = sorted(name for name, value in metrics.items() if not math.isfinite(value))
    if wild:
        raise UpdateRejected(f"metric {wild[0]!r} is not finite")
