"""The saved state: whole or refused; receipts: chained, and mended after a kill."""

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import CheckpointError
from core.federation.tensors import digest_of
from core.federation.update import Folded
from server.state import ServerState, Store, receipt_line


def receipts(count: int) -> list[str]:
    lines: list[str] = []
    for number in range(count):
        lines.append(receipt_line({"round": number, "note": "é\u2028\n"}, previous=lines[-1] if lines else ""))
    return lines


def state_after(rounds: int) -> ServerState:
    return ServerState(
        round=rounds,
        model={"a": np.full((2, 2), rounds, np.float32), "s": np.array(rounds, np.float32)},
        moments={"m/a": np.full((2, 2), 0.1)},
        folded={"east": Folded(round=rounds - 1, digest="d")},
        refusals={"north": 1},
        quarantined={"west": "refused 2 times running"},
        receipt=receipts(rounds)[-1] if rounds else "",
        bytes_up=10**12,
        bytes_down=7,
        seconds=0.1,
    )


def test_a_state_comes_back_whole(tmp_path: Path) -> None:
    store, state = Store(tmp_path / "server"), state_after(3)
    store.save(state, plan_digest="p")
    found = Store(tmp_path / "server").load(plan_digest="p")
    assert found is not None
    assert found.digest == state.digest
    assert found.moments["m/a"].dtype == np.float64
    assert digest_of(found.moments) == digest_of(state.moments)
    for name in ("round", "folded", "refusals", "quarantined", "receipt", "bytes_up", "bytes_down", "seconds"):
        assert getattr(found, name) == getattr(state, name)


def test_there_is_no_state_before_the_first_save(tmp_path: Path) -> None:
    assert Store(tmp_path / "server").load(plan_digest="p") is None
    assert Store(tmp_path / "server").receipts() == []
    assert not (tmp_path / "server").exists()


def test_a_state_of_another_plan_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(state_after(1), plan_digest="first-plan-digest")
    with pytest.raises(CheckpointError, match="belongs to plan first-plan-d, this run's plan is another-plan"):
        store.load(plan_digest="another-plan-digest")


def test_a_tampered_state_is_refused_wherever_it_was_changed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(state_after(3), plan_digest="p")
    content = store.state_path.read_bytes()
    for old, new in [(b'\\"round\\": 3', b'\\"round\\": 2'), (b"refused 2", b"refused 9"), (b"refusals", b"refusalz")]:
        assert content.count(old) == 1
        store.state_path.write_bytes(content.replace(old, new))
        with pytest.raises(CheckpointError, match=r"state\.safetensors: differs from what was written"):
            store.load(plan_digest="p")
    for place in (-1, -9, -20, -40):
        flipped = bytearray(content)
        flipped[place] ^= 1
        store.state_path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match="differs from what was written"):
            store.load(plan_digest="p")
    store.state_path.write_bytes(content)
    assert store.load(plan_digest="p") is not None


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 64])
def test_a_state_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path)
    store.state_path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        store.load(plan_digest="p")


def test_each_save_leaves_one_receipt_more(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for rounds in range(4):
        for _ in range(2):  # a repeated save repeats no receipt
            store.save(state_after(rounds), plan_digest="p")
        assert [receipt["round"] for receipt in store.receipts()] == list(range(rounds))


def test_a_kill_anywhere_between_state_and_receipt_is_mended(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for rounds in range(1, 4):
        store.save(state_after(rounds), plan_digest="p")
    whole = store.receipts_path.read_bytes()
    before_last = len("\n".join(receipts(2))) + 1
    for length in range(before_last, len(whole) + 1):
        store.receipts_path.write_bytes(whole[:length])
        store.load(plan_digest="p")
        assert store.receipts_path.read_bytes() == whole


def test_receipts_are_lines_whatever_a_reason_says(tmp_path: Path) -> None:
    (line,) = receipts(1)
    assert len(line.splitlines()) == 1
    assert line.isascii()
    assert json.loads(line)["note"] == "é\u2028\n"


def test_a_receipt_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        receipt_line({"norm": float("nan")}, previous="")


def test_a_line_torn_removed_reordered_or_changed_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, two, three = receipts(3)
    store.receipts_path.write_text("\n".join([one, two, three]) + "\n")
    assert [receipt["round"] for receipt in store.receipts()] == [0, 1, 2]
    for lines, number in [
        ([one, two[:-5], three], 2),
        ([one, three], 2),
        ([two, three], 1),
        ([two, one, three], 1),
        ([one, one, two, three], 2),
        ([one, two.replace('"round":1', '"round":9'), three], 3),
        ([one, "[]", three], 2),
        ([one, "", two], 2),
    ]:
        store.receipts_path.write_text("\n".join(lines) + "\n")
        with pytest.raises(CheckpointError, match=f"receipts.jsonl: line {number} "):
            store.receipts()
