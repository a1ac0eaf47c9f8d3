"""Codecs: exact gives back every bit, bf16 rounds as torch does, int8 rounds to 127ths of each block's largest."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from core.errors import PlanError
from core.federation.codec import codec_for, is_elementwise

EXACT, BF16, INT8 = codec_for("exact"), codec_for("bf16"), codec_for("int8")
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


@pytest.mark.parametrize("codec", [EXACT, BF16, INT8])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3), (3, 1024), (7, 293)])
def test_shapes_and_types_survive(codec, shape: tuple[int, ...]) -> None:
    new, base = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    wire = codec.encode(new, base)
    assert (wire.shape, wire.dtype) == (codec.wire_shape(shape), codec.dtype)
    delta = codec.decode(wire, base)
    assert (delta.shape, delta.dtype) == (shape, np.float64)
    np.testing.assert_array_equal(delta, new)


@pytest.mark.parametrize("codec", [BF16, INT8])
def test_views_with_strides_are_taken(codec) -> None:
    new = 127 / 11 * np.arange(12, dtype=np.float32).reshape(3, 4).T
    new = np.rint(new)
    base = np.zeros_like(new)
    np.testing.assert_array_equal(codec.decode(codec.encode(new, base), base), new)


def test_int8_by_hand() -> None:
    # The largest magnitude is 254, so a level is 2: 3 and -1 are ties and go to the even levels 2 and 0.
    wire = INT8.encode(np.array([254, 3, -1, -5, 0], np.float32), np.zeros(5, np.float32))
    np.testing.assert_array_equal(wire[:4].view("<f4"), [254])
    np.testing.assert_array_equal(wire[4:].view(np.int8), [127, 2, 0, -2, 0])
    np.testing.assert_array_equal(INT8.decode(wire, np.zeros(5, np.float32)), [254, 4, 0, -4, 0])


def test_int8_takes_a_quarter_of_the_bytes_and_its_length_follows_from_the_shape() -> None:
    assert [INT8.wire_shape(shape) for shape in ((), (0,), (1024,), (1025,), (192, 768))] == [
        (5,), (0,), (1028,), (1033,), (147456 + 4 * 144,)
    ]  # fmt: skip


def test_a_block_of_int8_is_not_coarser_for_large_values_in_another() -> None:
    new = np.concatenate([np.full(1024, 1e6), np.full(10, 1e-6)]).astype(np.float32)
    base = np.zeros_like(new)
    np.testing.assert_allclose(INT8.decode(INT8.encode(new, base), base), new, rtol=1e-6)


@given(hn.arrays(np.float32, st.integers(0, 40), elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_int8_is_off_by_half_a_level_at_most(new: np.ndarray) -> None:
    base = np.zeros_like(new)
    level = float(np.abs(new).max(initial=0)) / 127
    back = INT8.decode(INT8.encode(new, base), base)
    # Subnormal scales have few bits.
    assert np.abs(back - new).max(initial=0) <= level * 0.5001 + 1e-44


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_number_comes_of_an_int8_block_that_holds_none(value: float) -> None:
    back = INT8.decode(INT8.encode(np.array([1, value, 0], np.float32), one(0.0)), np.zeros(3, np.float32))
    assert not np.isfinite(back).all()


@given(st.binary(min_size=7, max_size=7))
@example(b"\x00\x00\x81\x7f\x00\x00\x00")  # a scale that is a signalling NaN
def test_whatever_int8_bytes_come_off_the_wire_decode_without_a_warning(content: bytes) -> None:
    with np.errstate(invalid="ignore"):
        scale, values = np.frombuffer(content[:4], "<f4").astype(np.float64), np.frombuffer(content[4:], np.int8)
        expected = values * scale / 127
    found = INT8.decode(np.frombuffer(content, np.uint8), np.zeros(3, np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_only_int8_leaves_something_over_for_the_next_round() -> None:
    assert [codec.carries for codec in (EXACT, BF16, INT8)] == [False, False, True]


def test_an_unknown_codec_is_an_error() -> None:
    with pytest.raises(PlanError, match="codec 'zip' is unknown; exact, bf16 and int8 are known"):
        codec_for("zip")


@pytest.mark.parametrize("codec", [EXACT, BF16])
@given(pair=pairs)
def test_a_part_decoded_in_place_has_the_bits_of_the_whole(codec, pair: tuple[np.ndarray, np.ndarray]) -> None:
    new, base = pair
    wire, out = codec.encode(new, base), np.empty(16)
    assert is_elementwise(codec)
    codec.decode_into(out[4:9], wire=wire[4:9], base=base.astype(np.float64)[4:9])
    assert out[4:9].tobytes() == codec.decode(wire, base)[4:9].tobytes()
