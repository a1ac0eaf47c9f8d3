"""What may leave the building: one chain, in this order, once: clip, then encode.

The clip bounds one hospital's influence on one round; it is no privacy by itself (no noise is added here).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from core.federation.codec import codec_for
from core.federation.plan import Plan
from core.federation.tensors import Tensors


def outgoing(new: Tensors, *, base: Tensors, plan: Plan) -> dict[str, npt.NDArray[Any]]:
    """The arrays to send: the plan's tensors only, their difference clipped to the plan's bound, in its codec."""
    chosen = {name: new[name] for name in plan.tensors}
    clipped = clip(chosen, base=base, bound=plan.norm_bound)
    codec = codec_for(plan.codec)
    return {name: codec.encode(clipped[name], base[name]) for name in sorted(clipped)}


def clip(new: Tensors, *, base: Mapping[str, npt.NDArray[np.float32]], bound: float) -> Tensors:
    """Shorten the difference to L2 norm `bound` over all tensors; one within the bound comes back untouched."""
    squares = 0.0
    for name, value in new.items():
        delta = value.astype(np.float64) - base[name]
        squares += float(np.vdot(delta, delta))
    norm = math.sqrt(squares)
    if norm <= bound:
        return new
    # Float32 rounding may lengthen the difference a little; the shrink keeps it within the bound.
    scale = bound * (1.0 - 1e-6) / norm
    return {name: (base[name] + scale * (value.astype(np.float64) - base[name])).astype(np.float32) for name, value in new.items()}
