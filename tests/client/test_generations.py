"""Optimizer state and residual in two generations: they follow the path that the global model really took."""

from pathlib import Path

import numpy as np
import pytest

from client.generations import Generations, Kept
from core.errors import CheckpointError
from core.federation.update import Folded


def moments(value: float) -> Kept:
    """Of a round: moments, and a residual of the same value."""
    return Kept(
        moments={"w/step": np.array(value, np.float32), "w/exp_avg": np.full(2, value, np.float32)},
        residual={"w": np.full(2, value, np.float32)},
    )


def value_of(found: Kept) -> float | None:
    """The round's value; the residual shares the fate of the moments."""
    assert bool(found.moments) == bool(found.residual)
    if not found.moments:
        return None
    assert found.residual["w"].tolist() == found.moments["w/exp_avg"].tolist()
    return float(found.moments["w/step"])


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    """After round 0 was folded: committed 1.0."""
    made = Generations(tmp_path / "study")
    made.propose(moments(1.0), number=0, base_digest="b0", update_digest="u0")
    assert value_of(made.settle(Folded(round=0, digest="u0"))) == 1.0
    return made


def test_a_study_starts_from_nothing_and_writes_nothing(tmp_path: Path) -> None:
    assert Generations(tmp_path / "study").settle(None) == Kept()
    assert not (tmp_path / "study").exists()


def test_a_folded_update_commits_its_moments(generations: Generations) -> None:
    generations.propose(moments(2.0), number=1, base_digest="b1", update_digest="u1")
    assert value_of(generations.settle(Folded(round=1, digest="u1"))) == 2.0


@pytest.mark.parametrize(
    ("number", "update"),
    [(1, "u1"), (1, "other"), (0, "other")],
    ids=["refused or late", "refused, another update", "another update of an old round"],
)
def test_what_was_not_folded_starts_from_the_committed_generation_again(
    generations: Generations, number: int, update: str
) -> None:
    generations.propose(moments(2.0), number=number, base_digest="b1", update_digest=update)
    assert value_of(generations.settle(Folded(round=0, digest="u0"))) == 1.0
    # The dropped generation does not come back, even when the server names it later.
    assert value_of(generations.settle(Folded(round=number, digest=update))) is None


def test_asking_twice_changes_nothing(generations: Generations) -> None:
    generations.propose(moments(2.0), number=1, base_digest="b1", update_digest="u1")
    for _ in range(3):
        assert value_of(generations.settle(Folded(round=1, digest="u1"))) == 2.0


def test_another_process_finds_the_same(generations: Generations, tmp_path: Path) -> None:
    generations.propose(moments(2.0), number=1, base_digest="b1", update_digest="u1")
    assert value_of(Generations(tmp_path / "study").settle(Folded(round=1, digest="u1"))) == 2.0


def test_a_study_begun_anew_in_the_same_folder_does_not_inherit_moments(generations: Generations) -> None:
    generations.propose(moments(2.0), number=1, base_digest="b1", update_digest="u1")
    assert generations.settle(None) == Kept()


def test_a_server_restored_from_an_older_backup_gets_no_moments_of_a_later_round(generations: Generations) -> None:
    generations.propose(moments(2.0), number=1, base_digest="b1", update_digest="u1")
    generations.settle(Folded(round=1, digest="u1"))
    assert generations.settle(Folded(round=0, digest="u0")) == Kept()


def test_damaged_moments_are_refused(generations: Generations, tmp_path: Path) -> None:
    path = tmp_path / "study" / "moments.committed.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 8
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"moments.committed.safetensors: .*remove it to start over"):
        generations.settle(Folded(round=0, digest="u0"))


def test_shapes_and_bits_survive(generations: Generations) -> None:
    kept = {"w/step": np.array(3, np.float32), "w/exp_avg": np.array([1e-45, -0.0], np.float32)}
    generations.propose(Kept(moments=kept), number=1, base_digest="b1", update_digest="u1")
    found = generations.settle(Folded(round=1, digest="u1")).moments
    assert {n: (v.shape, v.tobytes()) for n, v in found.items()} == {n: (v.shape, v.tobytes()) for n, v in kept.items()}


def test_a_site_may_keep_a_residual_and_no_moments(generations: Generations) -> None:
    generations.propose(Kept(residual={"w": np.ones(2, np.float32)}), number=1, base_digest="b1", update_digest="u1")
    found = generations.settle(Folded(round=1, digest="u1"))
    assert (found.moments, found.residual["w"].tolist()) == ({}, [1, 1])
