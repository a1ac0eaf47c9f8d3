"""What travels: an instruction down, an update up."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from core.errors import UpdateRejected
from core.federation.codec import Codec
from core.federation.tensors import Spec, Tensors, problems_with

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
    """L2 norm of the difference over all tensors, in parameter units; raises UpdateRejected on NaN or infinity."""
    squares = 0.0
    for name in sorted(arrays):
        delta = codec.decode(arrays[name], base[name])
        if not np.isfinite(delta).all():
            raise UpdateRejected(f"{name} holds NaN or infinity; the site's training diverged")
        squares += float(np.vdot(delta, delta))
    return math.sqrt(squares)


def check_metrics(metrics: Mapping[str, float]) -> None:
    """Only allow-listed, finite scalars, or UpdateRejected."""
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown:
        raise UpdateRejected(f"metric {unknown[0]!r} is not on the allow-list ({', '.join(METRICS)})")
    wild = sorted(name for name, value in metrics.items() if not math.isfinite(value))
    if wild:
        raise UpdateRejected(f"metric {wild[0]!r} is not finite")
