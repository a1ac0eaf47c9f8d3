"""What may leave the building: one chain, in this order, once: add what was left over, clip, encode.

The clip bounds one hospital's influence on one round; it is no privacy by itself (no noise is added here).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.federation.codec import Codec, Exact, codec_for
from core.federation.plan import Plan
from core.federation.tensors import Tensors
from core.federation.update import difference_norm

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """What leaves, and what stays for the next round."""

    arrays: Arrays
    residual: Tensors
    """What the codec's rounding left over, in parameter units; empty when the codec carries nothing."""


def outgoing(new: Tensors, *, base: Tensors, plan: Plan, residual: Mapping[str, npt.NDArray[np.float32]]) -> Outgoing:
    """The plan's tensors only, their difference clipped to the plan's bound, in its codec.

    The last folded round's `residual` is added first (error feedback: Karimireddy et al., ICML 2019, Algorithm 2). What
    the clip cuts off is gone; only what rounding leaves over stays. Rounding to float32 and by the codec may lengthen a
    clipped difference; it is clipped shorter until what the server will decode is within the bound.
    """
    codec = codec_for(plan.codec)
    chosen = {name: new[name] + residual[name] if name in residual else new[name] for name in plan.tensors}
    bound = plan.norm_bound
    clipped = chosen
    while True:
        wire: Arrays = {name: codec.encode(clipped[name], base[name]) for name in sorted(clipped)}
        norm = difference_norm(wire, base=base, codec=codec)
        if norm <= plan.norm_bound:
            return Outgoing(arrays=wire, residual=_left_over(clipped, wire, base=base, codec=codec))
        if clipped is not chosen:
            bound *= min(0.999, plan.norm_bound / norm)
        clipped = clip(chosen, base=base, bound=bound)


def _left_over(wanted: Tensors, wire: Arrays, *, base: Tensors, codec: Codec) -> Tensors:
    if not codec.carries:
        return {}
    return {
        name: (value.astype(np.float64) - base[name] - codec.decode(wire[name], base[name])).astype(np.float32)
        for name, value in wanted.items()
    }


def clip(new: Tensors, *, base: Mapping[str, npt.NDArray[np.float32]], bound: float) -> Tensors:
    """Shorten the difference to L2 norm `bound` over all tensors, up to float32 rounding; a short one is untouched."""
    norm = difference_norm(new, base=dict(base), codec=Exact())
    if norm <= bound:
        return new
    scale = bound / norm
    return {
        name: (base[name] + scale * (value.astype(np.float64) - base[name])).astype(np.float32)
        for name, value in new.items()
    }
