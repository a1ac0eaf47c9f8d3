"""Whatever one site sends, the run finishes, equal to the run in which that site skips the round."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from core.federation import wire
from core.federation.update import Update

SITE, ROUND = "north", 1
Mangle = Callable[[Message, Message], list[Message]]
"""Instruction and the honest reply to it -> what the server gets instead."""
Make = Callable[..., Any]


def changed(change: Callable[[Update], Update]) -> Mangle:
    """An update with something else in it."""

    def mangle(instruction: Message, reply: Message) -> list[Message]:
        update = wire.answer_from_records(reply.content)
        assert isinstance(update, Update)
        return [Message(wire.answer_to_records(change(update)), reply_to=instruction)]

    return mangle


def with_array(change: Callable[[np.ndarray], np.ndarray]) -> Mangle:
    """An update whose first tensor is another."""

    def first(update: Update) -> Update:
        name = min(update.arrays)
        return replace(update, arrays={**update.arrays, name: change(update.arrays[name])})

    return changed(first)


def with_records(change: Callable[[RecordDict], RecordDict]) -> Mangle:
    """A reply whose records are others."""
    return lambda instruction, reply: [Message(change(reply.content), reply_to=instruction)]


def with_one(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flat[-1] = value
        return array

    return change


def without_first(update: Update) -> Update:
    return replace(update, arrays={name: update.arrays[name] for name in sorted(update.arrays)[1:]})


def garbage_array(content: bytes, *, kind: str = "numpy.ndarray") -> Callable[[RecordDict], RecordDict]:
    def change(records: RecordDict) -> RecordDict:
        arrays = dict(records.array_records["update"])
        arrays[min(arrays)] = Array("float32", (2,), kind, content)
        return RecordDict({**records, "update": ArrayRecord(arrays)})

    return change


def with_header(**fields: Any) -> Callable[[RecordDict], RecordDict]:
    return lambda records: RecordDict(
        {**records, "header": ConfigRecord({**records.config_records["header"], **fields})}
    )


REFUSED: dict[str, tuple[Mangle, str]] = {
    "NaN": (with_array(with_one(np.nan)), "holds NaN or infinity"),
    "infinity": (with_array(with_one(-np.inf)), "holds NaN or infinity"),
    "huge norm": (with_array(with_one(1e6)), "exceeds"),
    "largest float": (with_array(with_one(float(np.finfo(np.float32).max))), "exceeds"),
    "wrong shape": (with_array(lambda array: array[..., :-1]), "has shape"),
    "flattened": (with_array(lambda array: array.reshape(1, -1)), "has shape"),
    "wrong dtype": (with_array(lambda array: array.astype(np.float64)), "is float64"),
    "integers": (with_array(lambda array: array.astype(np.int32)), "is int32"),
    "missing key": (changed(without_first), "1 tensors are missing"),
    "no tensors": (changed(lambda update: replace(update, arrays={})), "tensors are missing"),
    "extra key": (
        changed(lambda u: replace(u, arrays={**u.arrays, "zz": np.zeros(1, np.float32)})),
        "1 tensors are not in the plan, first zz",
    ),
    "future round": (changed(lambda update: replace(update, round=ROUND + 1)), "is for round 2"),
    "earlier round": (changed(lambda update: replace(update, round=ROUND - 1)), "is for round 0"),
    "wrong base": (changed(lambda update: replace(update, base_digest="0" * 64)), "trained from model 000000000000"),
    "wrong plan": (changed(lambda update: replace(update, plan_digest="0" * 64)), "trained under plan 000000000000"),
    "another's name": (changed(lambda update: replace(update, site="west")), "of site 'west'"),
    "unknown metric": (changed(lambda update: replace(update, metrics={"auc": 1.0})), "'auc' is not on the allow-list"),
    "metric NaN": (changed(lambda update: replace(update, metrics={"loss": np.nan})), "'loss' is not finite"),
    "no records": (with_records(lambda records: RecordDict()), "malformed"),
    "no header": (with_records(lambda records: RecordDict({"update": ArrayRecord()})), "malformed"),
    "round is text": (with_records(with_header(round="1")), "round is str, not int"),
    "metric is a list": (
        with_records(lambda records: RecordDict({**records, "metrics": MetricRecord({"loss": [1.0]})})),
        "is no number",
    ),
    "array is no array": (with_records(garbage_array(b"not an array")), "malformed"),
    "array is empty": (with_records(garbage_array(b"")), "malformed"),
    "array is cut": (with_records(garbage_array(b"\x93NUMPY\x01\x00")), "malformed"),
    "array of another library": (with_records(garbage_array(b"", kind="torch.tensor")), "malformed"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_bad_reply_is_refused_and_the_run_ends_as_if_the_site_had_skipped_the_round(
    fault: str, federate: Make, skipping: Make, faulty_grid: Make, tmp_path: Path
) -> None:
    mangle, reason = REFUSED[fault]
    run = federate(tmp_path / "faulty", grid=partial(faulty_grid, mangle=mangle))
    assert run.state.round == 3
    assert run.state.digest == skipping(f"skip.{SITE}=[{ROUND}]").state.digest
    assert list(run.receipts[ROUND]["refused"]) == [SITE]
    assert reason in run.receipts[ROUND]["refused"][SITE]
    assert sorted(run.receipts[ROUND]["contributors"]) == ["east", "west"]
    assert [sorted(run.receipts[number]["contributors"]) for number in (0, 2)] == [["east", "north", "west"]] * 2
    assert run.state.quarantined == {}


@pytest.mark.parametrize("number", [0, 2])
def test_the_first_and_the_last_round_are_no_exception(
    number: int, federate: Make, skipping: Make, faulty_grid: Make, tmp_path: Path
) -> None:
    mangle, _ = REFUSED["NaN"]
    run = federate(tmp_path / "faulty", grid=partial(faulty_grid, mangle=mangle, faults=[(SITE, number)]))
    assert run.state.digest == skipping(f"skip.{SITE}=[{number}]").state.digest


@pytest.mark.parametrize(
    "override",
    [
        "federation.codec=bf16",
        "federation.codec=int8",
        "federation.local_state=reset",
        "federation.server.name=fedadam",
    ],
)
def test_so_it_is_under_the_other_codecs_and_optimizers(
    override: str, federate: Make, skipping: Make, faulty_grid: Make, tmp_path: Path
) -> None:
    mangle, _ = REFUSED["another's name"]
    run = federate(tmp_path / "faulty", override, grid=partial(faulty_grid, mangle=mangle))
    assert run.state.digest == skipping(override, f"skip.{SITE}=[{ROUND}]").state.digest
    assert run.state.digest != skipping(override).state.digest


def test_a_nan_in_bfloat16_is_found_too(federate: Make, skipping: Make, faulty_grid: Make, tmp_path: Path) -> None:
    def poison(array: np.ndarray) -> np.ndarray:
        return np.full_like(array, 0x7FC0)

    run = federate(tmp_path / "faulty", "federation.codec=bf16", grid=partial(faulty_grid, mangle=with_array(poison)))
    assert "holds NaN or infinity" in run.receipts[ROUND]["refused"][SITE]
    assert run.state.digest == skipping("federation.codec=bf16", f"skip.{SITE}=[{ROUND}]").state.digest


INT8: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "scale NaN": (lambda array: spliced(array, np.nan), "holds NaN or infinity"),
    "scale infinite": (lambda array: spliced(array, -np.inf), "holds NaN or infinity"),
    "scale huge": (lambda array: spliced(array, 1e30), "exceeds"),
    "a byte short": (lambda array: array[:-1], "has shape"),
    "a byte long": (lambda array: np.append(array, np.uint8(0)), "has shape"),
    "no bytes": (lambda array: array[:0], "has shape"),
    "signed": (lambda array: array.view(np.int8), "is int8, the plan's codec sends uint8"),
    "in one row": (lambda array: array[None], "has shape"),
}


def spliced(array: np.ndarray, scale: float) -> np.ndarray:
    return np.concatenate([np.array([scale], "<f4").view(np.uint8), array[4:]])


@pytest.mark.parametrize("fault", INT8)
def test_hostile_bytes_of_int8_are_refused(
    fault: str, federate: Make, skipping: Make, faulty_grid: Make, tmp_path: Path
) -> None:
    change, reason = INT8[fault]
    grid = partial(faulty_grid, mangle=with_array(change))
    run = federate(tmp_path / "faulty", "federation.codec=int8", grid=grid)
    assert reason in run.receipts[ROUND]["refused"][SITE]
    assert run.state.digest == skipping("federation.codec=int8", f"skip.{SITE}=[{ROUND}]").state.digest


def test_a_skipped_round_changes_the_model_and_the_mix(skipping: Make) -> None:
    """Otherwise the comparisons of this file would say nothing."""
    whole, short = skipping(), skipping(f"skip.{SITE}=[{ROUND}]")
    assert whole.state.digest != short.state.digest
    assert whole.receipts[0]["model_hash"] == short.receipts[0]["model_hash"]
    assert short.receipts[ROUND]["absent"] == {SITE: "the site sits this round out"}
    weights = {site: entry["weight"] for site, entry in whole.receipts[ROUND]["contributors"].items()}
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-12)
    assert sum(short.receipts[ROUND]["effective_mix"].values()) == pytest.approx(1.0, abs=1e-12)


def test_a_second_copy_is_ignored(federate: Make, skipping: Make, faulty_grid: Make, tmp_path: Path) -> None:
    grid = partial(faulty_grid, mangle=lambda instruction, reply: [reply, reply])
    run = federate(tmp_path / "faulty", grid=grid)
    assert run.state.digest == skipping().state.digest
    assert run.receipts[ROUND]["ignored"] == [f"{SITE}: second reply in round {ROUND}"]
    assert run.receipts[ROUND]["refused"] == {}
    assert run.state.bytes_up == skipping().state.bytes_up


def test_a_bad_second_copy_does_not_hurt_the_good_first(
    federate: Make, skipping: Make, faulty_grid: Make, tmp_path: Path
) -> None:
    poison, _ = REFUSED["NaN"]
    grid = partial(faulty_grid, mangle=lambda instruction, reply: [reply, *poison(instruction, reply)])
    run = federate(tmp_path / "faulty", grid=grid)
    assert run.state.digest == skipping().state.digest
    assert run.state.refusals == {}


def test_a_good_second_copy_does_not_heal_the_bad_first(
    federate: Make, skipping: Make, faulty_grid: Make, tmp_path: Path
) -> None:
    poison, _ = REFUSED["NaN"]
    grid = partial(faulty_grid, mangle=lambda instruction, reply: [*poison(instruction, reply), reply])
    run = federate(tmp_path / "faulty", grid=grid)
    assert run.state.digest == skipping(f"skip.{SITE}=[{ROUND}]").state.digest
    assert run.receipts[ROUND]["ignored"] == [f"{SITE}: second reply in round {ROUND}"]


@pytest.mark.parametrize("fault", ["none", "no header", "future round"])
def test_a_late_reply_counts_in_no_round_and_is_held_against_nobody(
    fault: str, federate: Make, skipping: Make, faulty_grid: Make, tmp_path: Path
) -> None:
    mangle = REFUSED[fault][0] if fault in REFUSED else (lambda instruction, reply: [reply])
    run = federate(tmp_path / "faulty", "federation.timeout=0.05", grid=partial(faulty_grid, mangle=mangle, late=True))
    assert run.state.digest == skipping(f"skip.{SITE}=[{ROUND}]").state.digest
    assert run.receipts[ROUND]["absent"] == {SITE: "no reply in time"}
    assert run.receipts[ROUND + 1]["ignored"] == [f"{SITE}: reply of round {ROUND} came in round 2, too late"]
    assert SITE in run.receipts[ROUND + 1]["contributors"]
    assert run.state.refusals == {}


def test_a_reply_that_comes_after_the_last_round_is_not_waited_for(
    federate: Make, skipping: Make, faulty_grid: Make, tmp_path: Path
) -> None:
    grid = partial(faulty_grid, late=True, faults=[(SITE, 2)])
    run = federate(tmp_path / "faulty", "federation.timeout=0.05", grid=grid)
    assert run.state.digest == skipping(f"skip.{SITE}=[2]").state.digest


def test_a_client_that_fails_in_the_middle_of_a_round_is_absent(federate: Make, skipping: Make, tmp_path: Path) -> None:
    def fail(site: str, step: int, loss: float, images: int) -> None:
        if (site, step) == (SITE, 2 * ROUND):  # the first of the round's two steps has been taken
            raise RuntimeError("CUDA out of memory")

    run = federate(tmp_path / "faulty", on_step=fail)
    assert run.state.digest == skipping(f"skip.{SITE}=[{ROUND}]").state.digest
    assert run.receipts[ROUND]["absent"] == {SITE: "the client failed: RuntimeError: CUDA out of memory"}
    assert run.state.refusals == {}


def test_two_sites_may_fail_in_different_ways(
    federate: Make, skipping: Make, faulty_grid: Make, tmp_path: Path
) -> None:
    mangle, _ = REFUSED["wrong shape"]

    def fail(site: str, step: int, loss: float, images: int) -> None:
        if (site, step) == ("west", 5):
            raise OSError("no space left on device")

    run = federate(tmp_path / "faulty", grid=partial(faulty_grid, mangle=mangle), on_step=fail)
    assert run.state.digest == skipping(f"skip.{SITE}=[{ROUND}]", "skip.west=[2]").state.digest
