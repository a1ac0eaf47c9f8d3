"""Codecs: exact gives back every bit, bf16 rounds as torch does."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from core.errors import PlanError
from core.federation.codec import codec_for, is_elementwise

EXACT, BF16 = codec_for("exact"), codec_for("bf16")
ordinary = st.one_of(st.floats(0.0009765625, 8.0, width=32), st.floats(-8.0, -0.0009765625, width=32), st.just(0.0))
pairs = st.tuples(hn.arrays(np.float32, 16, elements=ordinary), hn.arrays(np.float32, 16, elements=ordinary))


def one(value: float) -> np.ndarray:
    return np.array([value], np.float32)


@given(pairs)
def test_exact_comes_back_bit_for_bit_when_the_base_is_added(pair: tuple[np.ndarray, np.ndarray]) -> None:
    new, base = pair
    back = (base + EXACT.decode(EXACT.encode(new, base), base)).astype(np.float32)
    # + 0.0: a zero has lost its sign, which is no value.
    np.testing.assert_array_equal(back.view(np.uint32), (new + np.float32(0.0)).view(np.uint32))


def test_float32_differences_would_lose_bits_that_exact_keeps() -> None:
    new, base = one(0.1), one(3.0)
    assert base + (new - base) != new
    assert (base + EXACT.decode(EXACT.encode(new, base), base)).astype(np.float32) == new


@given(pairs)
def test_bf16_rounds_the_difference_as_torch_does(pair: tuple[np.ndarray, np.ndarray]) -> None:
    new, base = pair
    delta = (new.astype(np.float64) - base).astype(np.float32)
    expected = torch.from_numpy(delta).bfloat16().double().numpy()
    np.testing.assert_array_equal(BF16.decode(BF16.encode(new, base), base), expected)


@pytest.mark.parametrize(
    ("delta", "rounded"),
    [
        (1 + 2**-8, 1.0),  # a tie goes to the even neighbour, below
        (1 + 3 * 2**-8, 1 + 2**-6),  # a tie goes to the even neighbour, above
        (1 + 2**-8 + 2**-20, 1 + 2**-7),
        (-(1 + 2**-8 + 2**-20), -(1 + 2**-7)),
        (2**-133, 2**-133),  # the least bfloat16
        (0.0, 0.0),
        (np.inf, np.inf),
        (-np.inf, -np.inf),
        (np.finfo(np.float32).max, np.inf),
    ],
)
def test_bf16_by_hand(delta: float, rounded: float) -> None:
    assert BF16.decode(BF16.encode(one(delta), one(0.0)), one(0.0)) == rounded


def test_a_difference_beyond_float32_is_infinite_and_said_so_to_nobody() -> None:
    most = np.finfo(np.float32).max
    assert BF16.decode(BF16.encode(one(most), one(-most)), one(0.0)) == np.inf


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7F800001, 0xFF812345, 0x7FFFFFFF, 0xFFFFFFFF])
def test_no_nan_is_rounded_to_a_number(bits: int) -> None:
    nan = np.array([bits], np.uint32).view(np.float32)
    assert np.isnan(BF16.decode(BF16.encode(nan, one(0.0)), one(0.0))).all()
    assert np.isnan(EXACT.decode(EXACT.encode(nan, one(0.0)), one(0.0))).all()


@given(st.integers(0, 0xFFFF))
def test_whatever_two_bytes_come_off_the_wire_decode_without_a_warning(bits: int) -> None:
    expected = torch.tensor([bits], dtype=torch.uint16).view(torch.bfloat16).double().numpy()
    np.testing.assert_array_equal(BF16.decode(np.array([bits], np.uint16), one(1.0)), expected)


@pytest.mark.parametrize("codec", [EXACT, BF16])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3)])
def test_shapes_and_types_survive(codec, shape: tuple[int, ...]) -> None:
    new, base = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    wire = codec.encode(new, base)
    assert (wire.shape, wire.dtype) == (shape, codec.dtype)
    delta = codec.decode(wire, base)
    assert (delta.shape, delta.dtype) == (shape, np.float64)
    np.testing.assert_array_equal(delta, new)


def test_bf16_takes_views_with_strides() -> None:
    new = np.arange(12, dtype=np.float32).reshape(3, 4).T
    base = np.zeros_like(new)
    np.testing.assert_array_equal(BF16.decode(BF16.encode(new, base), base), new)


def test_an_unknown_codec_is_an_error() -> None:
    with pytest.raises(PlanError, match="codec 'zip' is unknown; exact and bf16 are known"):
        codec_for("zip")


@pytest.mark.parametrize("codec", [EXACT, BF16])
@given(pair=pairs)
def test_a_part_decoded_in_place_has_the_bits_of_the_whole(codec, pair: tuple[np.ndarray, np.ndarray]) -> None:
    new, base = pair
    wire, out = codec.encode(new, base), np.empty(16)
    assert is_elementwise(codec)
    codec.decode_into(out[4:9], wire=wire[4:9], base=base.astype(np.float64)[4:9])
    assert out[4:9].tobytes() == codec.decode(wire, base)[4:9].tobytes()
