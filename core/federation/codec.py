"""How an update is written on the wire.

`exact` sends the new float32 parameters and takes the difference in float64 at the fold, because float32 differences
lose bits. `bf16` sends differences rounded to bfloat16 (8 bits of mantissa, half the bytes); the model on its way down
stays float32, since bfloat16 parameters swallow small updates. `int8` sends differences in about a quarter of the bytes
(`Int8`). All decode to float64 differences.
"""

import math
from typing import Any, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from core.errors import PlanError

Wire = npt.NDArray[np.float32] | npt.NDArray[np.uint16] | npt.NDArray[np.uint8]
Real = npt.NDArray[np.float64]
BLOCK = 1024
"""Values that share a scale in `int8`."""
LEVELS = 127
"""The largest byte of `int8`."""
SCALE = np.dtype("<f4")


class Codec(Protocol):
    """One tensor to its wire form and back to a difference."""

    dtype: np.dtype[Any]
    """What travels."""
    carries: bool
    """Whether the site keeps what rounding left over and adds it to its next difference (error feedback)."""

    def wire_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the wire form of a tensor of this shape."""

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
    carries = False

    def wire_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The tensor's own."""
        return shape

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
    carries = False

    def wire_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The tensor's own."""
        return shape

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


class Int8:
    """Differences in blocks of 1024 values: one float32 scale a block, one signed byte a value.

    The wire form is one array of uint8: the scales of all blocks, little-endian, then the values, row by row; its
    length follows from the tensor's shape. A value decodes to `scale * byte / 127`, the scale being the largest
    magnitude of its block. What rounding left over, at most half of `scale / 127` a value, is kept at the site and
    added to its next difference, so that it is late, not lost:

    Seide, Fu, Droppo, Li and Yu, "1-Bit Stochastic Gradient Descent and its Application to Data-Parallel Distributed
    Training of Speech DNNs", Interspeech 2014; Karimireddy, Rebjock, Stich and Jaggi, "Error Feedback Fixes SignSGD
    and other Gradient Compression Schemes", ICML 2019, arXiv:1901.09847.
    """

    dtype: np.dtype[Any] = np.dtype(np.uint8)
    carries = True

    def wire_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """One dimension: four bytes a block, then one a value."""
        values = math.prod(shape)
        return (SCALE.itemsize * _blocks(values) + values,)

    def encode(self, new: npt.NDArray[np.float32], base: npt.NDArray[np.float32]) -> Wire:
        """Scale and round each block of the difference, ties to even; NaN and infinity go into the scale."""
        delta = (new.astype(np.float64) - base.astype(np.float64)).ravel()
        padded = np.zeros((_blocks(delta.size), BLOCK))
        padded.flat[: delta.size] = delta
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # admission refuses what is not finite
            scales = np.abs(padded).max(axis=1, initial=0.0).astype(SCALE)
            levels = np.rint(padded * (LEVELS / scales.astype(np.float64))[:, None])
        bounded = np.clip(np.nan_to_num(levels), -LEVELS, LEVELS).astype(np.int8)
        return np.concatenate([scales.view(np.uint8), bounded.ravel()[: delta.size].view(np.uint8)])

    def decode(self, wire: npt.NDArray[np.generic], base: npt.NDArray[np.float32]) -> Real:
        """Scale the bytes again; a scale that is not finite gives no finite value, which admission refuses."""
        blocks = _blocks(base.size)
        head, tail = np.split(np.ascontiguousarray(wire), [SCALE.itemsize * blocks])
        values = np.zeros((blocks, BLOCK))
        values.flat[: base.size] = tail.view(np.int8)
        with np.errstate(invalid="ignore"):
            values *= widened(head.view(SCALE))[:, None] / LEVELS
        return values.ravel()[: base.size].reshape(base.shape)


def _blocks(values: int) -> int:
    return -(-values // BLOCK)


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
    if name == "int8":
        return Int8()
    raise PlanError(f"codec {name!r} is unknown; exact, bf16 and int8 are known")
