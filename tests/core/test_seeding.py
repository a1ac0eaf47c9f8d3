"""Seeds follow from the run's seed and the purpose, in every process and for ever."""

import hashlib

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.seeding import counter_uniform, derive, numpy_generator, torch_generator

parts = st.lists(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=6) | st.integers(-9, 9), max_size=4
)


def test_a_seed_is_the_first_63_bits_of_the_hash_of_its_path() -> None:
    # Written out, because a change here silently changes every run.
    digest = hashlib.sha256(b"5\x1fstr:draw\x1fint:3").digest()
    assert derive(5, "draw", 3) == int.from_bytes(digest[:8], "big") // 2


@given(parts, parts)
def test_two_paths_share_a_seed_only_when_they_are_the_same(one: list[str | int], other: list[str | int]) -> None:
    assert (derive(0, *one) == derive(0, *other)) == (one == other)


@given(st.integers(), parts)
def test_seeds_fit_in_63_bits(seed: int, path: list[str | int]) -> None:
    assert 0 <= derive(seed, *path) < 2**63


def test_numbers_and_words_that_look_alike_differ() -> None:
    assert len({derive(0, 1), derive(0, "1"), derive(0), derive(1), derive(0, 1, ""), derive(0, "", 1)}) == 6


def test_generators_follow_their_path() -> None:
    assert numpy_generator(0, "a").random() == numpy_generator(0, "a").random() != numpy_generator(0, "b").random()
    one, other = (torch.rand(4, generator=torch_generator(0, "a")) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, torch.rand(4, generator=torch_generator(0, "b")))


def test_global_generators_are_left_alone() -> None:
    np.random.seed(1)
    torch.manual_seed(1)
    expected = np.random.random(), torch.rand(1)
    np.random.seed(1)
    torch.manual_seed(1)
    numpy_generator(0, "a").random()
    torch.rand(1, generator=torch_generator(0, "a"))
    assert (np.random.random(), torch.rand(1)) == expected


def test_counted_numbers_follow_from_their_own_seed_alone() -> None:
    whole = counter_uniform(torch.tensor([3, -1, 2**62]), 1000)
    assert whole.shape == (3, 1000)
    assert torch.equal(counter_uniform(torch.tensor([2**62, 3]), 5), whole[[2, 0], :5])
    assert 0 <= whole.min() < whole.max() < 1
    # the first output of SplitMix64 at seed 0 is 0xE220A8397B1DCDAF; 24 bits are kept
    assert counter_uniform(torch.tensor([0]), 1).item() == (0xE220A8397B1DCDAF >> 40) / 2**24
