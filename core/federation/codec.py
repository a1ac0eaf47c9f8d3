"""How an update is written on the wire.

`exact` sends the new float32 parameters and takes the difference in float64 at the fold, because float32 differences
lose bits. `bf16` sends differences rounded to bfloat16 (8 bits of mantissa, half the bytes); the model on its way down
stays float32, since bfloat16 parameters swallow small updates. Both decode to float64 differences.
"""

from typing import Any, Literal, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from core.errors import PlanError

CodecName = Literal["exact", "bf16"]
Wire = npt.NDArray[np.float32] | npt.NDArray[np.uint16]
Real = npt.NDArray[np.float64]


class Codec(Protocol):
    """One tensor to its wire form and back to a difference."""

    dtype: np.dtype[Any]
    """What travels."""

    def encode(self, new: npt.NDArray[np.float32], base: npt.NDArray[np.float32]) -> Wire:
        """The wire form of the step from `base` to `new`."""

    def decode(self, wire: npt.NDArray[np.generic], base: npt.NDArray[np.float32]) -> Real:
        """The float64 difference that `encode` wrote."""


class Elementwise(Protocol):
    """A codec of which any part of a tensor can be decoded alone, in place; with `decode`'s values, bit for bit."""

    dtype: np.dtype[Any]
    """What travels, one value for each of the tensor."""

    def decode_into(self, out: Real, *, wire: npt.NDArray[Any], base: npt.NDArray[Any]) -> None:
        """Write the differences of flat parts of one length; `base` is float32, or widened before. NaN may signal."""


class Exact:
    """Float32 parameters."""

    dtype: np.dtype[Any] = np.dtype(np.float32)

    def encode(self, new: npt.NDArray[np.float32], base: npt.NDArray[np.float32]) -> Wire:  # noqa: ARG002 -- protocol
        """The parameters themselves."""
        return new.astype(np.float32, copy=False)

    def decode(self, wire: npt.NDArray[np.generic], base: npt.NDArray[np.float32]) -> Real:
        """Difference in float64."""
        return widened(wire) - base.astype(np.float64)

    def decode_into(self, out: Real, *, wire: npt.NDArray[Any], base: npt.NDArray[Any]) -> None:
        """As `decode`."""
        np.copyto(out, wire)
        np.subtract(out, base, out=out)


class BFloat16:
    """Differences rounded to the nearest bfloat16, ties to even, carried as uint16."""

    dtype: np.dtype[Any] = np.dtype(np.uint16)

    def encode(self, new: npt.NDArray[np.float32], base: npt.NDArray[np.float32]) -> Wire:
        """Round the float32 bits of the difference to their upper 16; a NaN stays a NaN."""
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by admission
            delta = np.asarray(new.astype(np.float64) - base.astype(np.float64)).astype(np.float32, order="C")
        bits = delta.view(np.uint32)
        rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        return np.where(np.isnan(delta), np.uint16(0x7FC0), rounded)

    def decode(self, wire: npt.NDArray[np.generic], base: npt.NDArray[np.float32]) -> Real:  # noqa: ARG002 -- protocol
        """Widen the bits again."""
        bits = np.asarray(wire.astype(np.uint32, order="C") << np.uint32(16))
        return widened(bits.view(np.float32))

    def decode_into(self, out: Real, *, wire: npt.NDArray[Any], base: npt.NDArray[Any]) -> None:  # noqa: ARG002 -- protocol
        """As `decode`."""
        bits = wire.astype(np.uint32)
        np.left_shift(bits, 16, out=bits)
        np.copyto(out, bits.view(np.float32))


def is_elementwise(codec: Codec) -> TypeGuard[Elementwise]:
    """Whether the codec decodes parts in place; others are decoded a tensor at a time."""
    return hasattr(codec, "decode_into")


def widened(values: npt.NDArray[Any]) -> Real:
    """Float64 values; a signalling NaN from the wire passes silently, and admission refuses it as any NaN."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def codec_for(name: str) -> Codec:
    """The codec a plan names; raises PlanError for an unknown one."""
    if name == "exact":
        return Exact()
    if name == "bf16":
        return BFloat16()
    raise PlanError(f"codec {name!r} is unknown; exact and bf16 are known")
