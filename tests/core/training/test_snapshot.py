"""A snapshot continues an arm bit for bit, and a damaged one is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import CheckpointError
from core.federation.tensors import digest_of, state_of
from core.training.pretrain import Pretraining
from core.training.snapshot import load_snapshot, save_snapshot
from core.training.source import Source

Make = Callable[..., Pretraining]


def test_an_arm_goes_on_from_its_snapshot_bit_for_bit(pretraining: Make, source: Source, tmp_path: Path) -> None:
    whole, first, second = (pretraining() for _ in range(3))
    whole.run(source, first=0, steps=4)
    first.run(source, first=0, steps=2)
    save_snapshot(tmp_path / "s", first, step=2, extra={"curve": [[8, 0.5]]})
    step, meta = load_snapshot(tmp_path / "s", second)
    second.run(source, first=step, steps=2)
    assert (step, meta["curve"]) == (2, [[8, 0.5]])
    assert digest_of(state_of(second.model)) == digest_of(state_of(whole.model))


def test_what_is_saved_beside_a_snapshot_cannot_change_its_step(pretraining: Make, tmp_path: Path) -> None:
    save_snapshot(tmp_path / "s", pretraining(), step=2, extra={"step": 9, "schema_version": 9})
    assert load_snapshot(tmp_path / "s", pretraining())[0] == 2


def test_a_damaged_snapshot_is_refused(pretraining: Make, tmp_path: Path) -> None:
    path = tmp_path / "s"
    save_snapshot(path, pretraining(), step=2, extra={})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="differs from what was written"):
        load_snapshot(path, pretraining())
    path.write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_snapshot(path, pretraining())
