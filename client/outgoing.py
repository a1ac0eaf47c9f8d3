"""What may leave the building: one chain, in this order, once: clip, then encode.

The clip bounds one hospital's influence on one round; it is no privacy by itself (no noise is added here).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from core.federation.codec import Exact, codec_for
from core.federation.plan import Plan
from core.federation.tensors import Tensors
from core.federation.update import difference_norm


def outgoing(new: Tensors, *, base: Tensors, plan: Plan) -> dict[str, npt.NDArray[Any]]:
    """The arrays to send: the plan's tensors only, their difference clipped to the plan's bound, in its codec.

    Rounding to float32 and by the codec may lengthen a clipped difference; it is clipped shorter until what the server
    will decode is within the bound.
    """
    chosen = {name: new[name] for name in plan.tensors}
    codec = codec_for(plan.codec)
    bound = plan.norm_bound
    clipped = chosen
    while True:
        wire: dict[str, npt.NDArray[Any]] = {name: codec.encode(clipped[name], base[name]) for name in sorted(clipped)}
        norm = difference_norm(wire, base=base, codec=codec)
        if norm <= plan.norm_bound:
            return wire
        if clipped is not chosen:
            bound *= min(0.999, plan.norm_bound / norm)
        clipped = clip(chosen, base=base, bound=bound)


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
