"""Updates wait on disk and are folded in site order, whatever the order they came in."""

import itertools
import os

import numpy as np
import pytest

from core.errors import CheckpointError
from core.federation.codec import codec_for
from server.spool import BLOCK, Mean, Spool

BASE = {"a": np.array([1, 1], np.float32), "s": np.array(2, np.float32)}
EXACT = codec_for("exact")


def sent(a: list[float], s: float) -> dict[str, np.ndarray]:
    return {"a": np.array(a, np.float32), "s": np.array(s, np.float32)}


def test_the_fold_is_the_weighted_mean_of_the_differences() -> None:
    # Differences (1, 3), 2 and (4, 0), -1 with weights 0.2 and 0.6: a quarter and three quarters of them.
    with Spool() as spool:
        spool.add("x", sent([2, 4], 4))
        spool.add("y", sent([5, 1], 1))
        mean = dict(Mean(spool, weights={"x": 0.2, "y": 0.6, "absent": 0.2}, base=BASE, codec=EXACT))
    np.testing.assert_allclose(mean["a"], [0.25 * 1 + 0.75 * 4, 0.25 * 3 + 0.75 * 0], rtol=1e-15)
    assert mean["s"].shape == ()
    assert float(mean["s"]) == pytest.approx(0.25 * 2 + 0.75 * -1, rel=1e-15)
    assert {value.dtype for value in mean.values()} == {np.dtype(np.float64)}


def test_one_site_is_its_own_mean_whatever_its_weight() -> None:
    with Spool() as spool:
        spool.add("x", sent([0.1, 3e-8], 7))
        mean = dict(Mean(spool, weights={"x": 1 / 3, "y": 2 / 3}, base=BASE, codec=EXACT))
    np.testing.assert_array_equal((BASE["a"] + mean["a"]).astype(np.float32), np.array([0.1, 3e-8], np.float32))


def test_the_order_of_arrival_changes_no_bit() -> None:
    generator = np.random.default_rng(0)
    updates = {site: sent(list(generator.normal(size=2)), float(generator.normal())) for site in "abcd"}
    weights = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}
    results = set()
    for order in itertools.permutations("abcd"):
        with Spool() as spool:
            for site in order:
                spool.add(site, updates[site])
            assert spool.sites == ["a", "b", "c", "d"]
            mean = dict(Mean(spool, weights=weights, base=BASE, codec=EXACT))
        results.add((mean["a"].tobytes(), mean["s"].tobytes()))
    assert len(results) == 1


def test_sixteen_bit_differences_are_folded_as_such() -> None:
    codec = codec_for("bf16")
    with Spool() as spool:
        for site, step in (("x", 1.0), ("y", 3.0)):
            new = {name: value + np.float32(step) for name, value in BASE.items()}
            spool.add(site, {name: codec.encode(np.asarray(new[name]), value) for name, value in BASE.items()})
        mean = dict(Mean(spool, weights={"x": 0.5, "y": 0.5}, base=BASE, codec=codec))
    np.testing.assert_array_equal(mean["a"], [2.0, 2.0])


def test_what_was_spooled_comes_back_and_the_sites_are_in_order() -> None:
    with Spool() as spool:
        spool.add("y", {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "e": np.zeros((0, 2), np.uint16)})
        spool.add("x", {"a": np.ones((3, 2), np.float32), "e": np.zeros((0, 2), np.uint16)})
        assert spool.sites == ["x", "y"]
        np.testing.assert_array_equal(spool.read("y", "a"), np.arange(6).reshape(2, 3).T)
        assert spool.read("x", "e").shape == (0, 2)


def test_a_later_change_of_an_array_does_not_reach_the_spool() -> None:
    arrays = sent([2, 2], 2)
    with Spool() as spool:
        spool.add("x", arrays)
        arrays["a"] += 100
        np.testing.assert_array_equal(spool.read("x", "a"), [2, 2])


@pytest.mark.parametrize("name", ["exact", "bf16"])
@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 5])
def test_blocks_give_the_bits_of_whole_tensors(name: str, size: int) -> None:
    codec, generator = codec_for(name), np.random.default_rng(size)
    base = {"t": generator.standard_normal(size, np.float32)}
    weights = {"a": 0.2, "b": 0.5, "c": 0.3}
    expected = np.zeros(size)
    with Spool() as spool:
        for site, weight in weights.items():
            new = base["t"] + generator.standard_normal(size, np.float32)
            spool.add(site, {"t": codec.encode(new, base["t"])})
            expected += (weight / sum(weights.values())) * codec.decode(spool.read(site, "t"), base["t"])
        found = Mean(spool, weights=weights, base=base, codec=codec)["t"]
    assert found.tobytes() == expected.tobytes()


def test_a_file_that_became_shorter_is_an_error() -> None:
    with Spool() as spool:
        spool.add("x", sent([2, 2], 2))
        os.ftruncate(spool._file.fileno(), 4)
        with pytest.raises(CheckpointError, match="shorter than written"):
            dict(Mean(spool, weights={"x": 1.0}, base=BASE, codec=EXACT))
