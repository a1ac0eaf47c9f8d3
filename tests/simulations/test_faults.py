"""Whatever one site sends, the run finishes, equal to the run in which that site skips the round."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from core.errors import FederationPaused
from core.federation import wire
from core.federation.update import Update
from simulations.grid import InProcessGrid, NodeConfig

SITE, ROUND = "north", 1
Mangle = Callable[[Message, Message], list[Message]]
"""Instruction and the honest reply to it -> what the server gets instead."""


class FaultyGrid(InProcessGrid):
    """Replies of one site in some rounds go through `mangle`; with `late`, they come one round later."""

    def __init__(
        self,
        client: ClientApp,
        nodes: Iterable[NodeConfig],
        *,
        mangle: Mangle = lambda instruction, reply: [reply],
        faults: Iterable[tuple[str, int]] = ((SITE, ROUND),),
        late: bool = False,
    ) -> None:
        nodes = list(nodes)
        super().__init__(client, nodes)
        self._sites = {number: str(node["site"]) for number, node in enumerate(nodes, start=1)}
        self._mangle, self._faults, self._late = mangle, set(faults), late
        self._instructions: dict[str, Message] = {}
        self._held: dict[str, list[Message]] = {}
        self._newest = 0

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        messages = list(messages)
        identifiers = super().push_messages(messages)
        self._instructions |= dict(zip(identifiers, messages, strict=True))
        self._newest = max([self._newest, *map(number_of, messages)])
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [reply for identifier in message_ids for reply in self._pull(identifier)]

    def _pull(self, identifier: str) -> list[Message]:
        instruction = self._instructions[identifier]
        if identifier not in self._held:
            replies = super().pull_messages([identifier])
            if (self._sites[instruction.metadata.dst_node_id], number_of(instruction)) not in self._faults:
                return replies
            self._held[identifier] = [bad for reply in replies for bad in self._mangle(instruction, reply)]
        if self._late and self._newest == number_of(instruction):
            return []
        return self._held.pop(identifier)


def number_of(message: Message) -> int:
    """The round of an instruction, -1 for a query."""
    return int(message.metadata.group_id) if message.metadata.message_type == wire.TRAIN else -1


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
    "largest float": (with_array(with_one(np.finfo(np.float32).max)), "exceeds"),
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


@pytest.fixture(scope="module")
def known() -> dict[tuple[str, ...], Any]:
    """Runs by their overrides, so that the runs to compare with are made once."""
    return {}


@pytest.fixture
def skipping(federate, tmp_path, known) -> Callable[..., Any]:
    """(override, ...) -> that run without faults."""

    def run(*overrides: str) -> Any:
        if overrides not in known:
            known[overrides] = federate(tmp_path / f"reference-{len(known)}", *overrides)
        return known[overrides]

    return run


@pytest.mark.parametrize("fault", REFUSED)
def test_a_bad_reply_is_refused_and_the_run_ends_as_if_the_site_had_skipped_the_round(
    fault: str, federate, skipping, tmp_path: Path
) -> None:
    mangle, reason = REFUSED[fault]
    run = federate(tmp_path / "faulty", grid=partial(FaultyGrid, mangle=mangle))
    assert run.state.round == 3
    assert run.state.digest == skipping(f"skip.{SITE}=[{ROUND}]").state.digest
    assert list(run.receipts[ROUND]["refused"]) == [SITE]
    assert reason in run.receipts[ROUND]["refused"][SITE]
    assert sorted(run.receipts[ROUND]["contributors"]) == ["east", "west"]
    assert [sorted(run.receipts[number]["contributors"]) for number in (0, 2)] == [["east", "north", "west"]] * 2
    assert run.state.quarantined == {}


@pytest.mark.parametrize("number", [0, 2])
def test_the_first_and_the_last_round_are_no_exception(number: int, federate, skipping, tmp_path: Path) -> None:
    mangle, _ = REFUSED["NaN"]
    run = federate(tmp_path / "faulty", grid=partial(FaultyGrid, mangle=mangle, faults=[(SITE, number)]))
    assert run.state.digest == skipping(f"skip.{SITE}=[{number}]").state.digest


@pytest.mark.parametrize("override", ["federation.codec=bf16", "federation.server.name=fedadam"])
def test_so_it_is_under_the_other_codec_and_server_optimizer(override: str, federate, skipping, tmp_path: Path) -> None:
    mangle, _ = REFUSED["another's name"]
    run = federate(tmp_path / "faulty", override, grid=partial(FaultyGrid, mangle=mangle))
    assert run.state.digest == skipping(override, f"skip.{SITE}=[{ROUND}]").state.digest
    assert run.state.digest != skipping(override).state.digest


def test_a_nan_in_bfloat16_is_found_too(federate, skipping, tmp_path: Path) -> None:
    def poison(array: np.ndarray) -> np.ndarray:
        return np.full_like(array, 0x7FC0)

    run = federate(tmp_path / "faulty", "federation.codec=bf16", grid=partial(FaultyGrid, mangle=with_array(poison)))
    assert "holds NaN or infinity" in run.receipts[ROUND]["refused"][SITE]
    assert run.state.digest == skipping("federation.codec=bf16", f"skip.{SITE}=[{ROUND}]").state.digest


def test_a_skipped_round_changes_the_model_and_the_mix(skipping) -> None:
    """Otherwise the comparisons of this file would say nothing."""
    whole, short = skipping(), skipping(f"skip.{SITE}=[{ROUND}]")
    assert whole.state.digest != short.state.digest
    assert whole.receipts[0]["model_hash"] == short.receipts[0]["model_hash"]
    assert short.receipts[ROUND]["absent"] == {SITE: "the site sits this round out"}
    weights = {site: entry["weight"] for site, entry in whole.receipts[ROUND]["contributors"].items()}
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-12)
    assert sum(short.receipts[ROUND]["effective_mix"].values()) == pytest.approx(1.0, abs=1e-12)


def test_a_second_copy_is_ignored(federate, skipping, tmp_path: Path) -> None:
    grid = partial(FaultyGrid, mangle=lambda instruction, reply: [reply, reply])
    run = federate(tmp_path / "faulty", grid=grid)
    assert run.state.digest == skipping().state.digest
    assert run.receipts[ROUND]["ignored"] == [f"{SITE}: second reply in round {ROUND}"]
    assert run.receipts[ROUND]["refused"] == {}
    assert run.state.bytes_up == skipping().state.bytes_up


def test_a_bad_second_copy_does_not_hurt_the_good_first(federate, skipping, tmp_path: Path) -> None:
    poison, _ = REFUSED["NaN"]
    grid = partial(FaultyGrid, mangle=lambda instruction, reply: [reply, *poison(instruction, reply)])
    run = federate(tmp_path / "faulty", grid=grid)
    assert run.state.digest == skipping().state.digest
    assert run.state.refusals == {}


def test_a_good_second_copy_does_not_heal_the_bad_first(federate, skipping, tmp_path: Path) -> None:
    poison, _ = REFUSED["NaN"]
    grid = partial(FaultyGrid, mangle=lambda instruction, reply: [*poison(instruction, reply), reply])
    run = federate(tmp_path / "faulty", grid=grid)
    assert run.state.digest == skipping(f"skip.{SITE}=[{ROUND}]").state.digest
    assert run.receipts[ROUND]["ignored"] == [f"{SITE}: second reply in round {ROUND}"]


@pytest.mark.parametrize("fault", ["none", "no header", "future round"])
def test_a_late_reply_counts_in_no_round_and_is_held_against_nobody(
    fault: str, federate, skipping, tmp_path: Path
) -> None:
    mangle = REFUSED[fault][0] if fault in REFUSED else (lambda instruction, reply: [reply])
    run = federate(tmp_path / "faulty", "federation.timeout=0.05", grid=partial(FaultyGrid, mangle=mangle, late=True))
    assert run.state.digest == skipping(f"skip.{SITE}=[{ROUND}]").state.digest
    assert run.receipts[ROUND]["absent"] == {SITE: "no reply in time"}
    assert run.receipts[ROUND + 1]["ignored"] == [f"{SITE}: reply of round {ROUND} came in round 2, too late"]
    assert SITE in run.receipts[ROUND + 1]["contributors"]
    assert run.state.refusals == {}


def test_a_reply_that_comes_after_the_last_round_is_not_waited_for(federate, skipping, tmp_path: Path) -> None:
    grid = partial(FaultyGrid, late=True, faults=[(SITE, 2)])
    run = federate(tmp_path / "faulty", "federation.timeout=0.05", grid=grid)
    assert run.state.digest == skipping(f"skip.{SITE}=[2]").state.digest


def test_a_client_that_fails_in_the_middle_of_a_round_is_absent(federate, skipping, tmp_path: Path) -> None:
    def fail(site: str, step: int, loss: float, images: int) -> None:
        if (site, step) == (SITE, 2 * ROUND):  # the first of the round's two steps has been taken
            raise RuntimeError("CUDA out of memory")

    run = federate(tmp_path / "faulty", on_step=fail)
    assert run.state.digest == skipping(f"skip.{SITE}=[{ROUND}]").state.digest
    assert run.receipts[ROUND]["absent"] == {SITE: "the client failed: RuntimeError: CUDA out of memory"}
    assert run.state.refusals == {}


def test_two_sites_may_fail_in_different_ways(federate, skipping, tmp_path: Path) -> None:
    mangle, _ = REFUSED["wrong shape"]

    def fail(site: str, step: int, loss: float, images: int) -> None:
        if (site, step) == ("west", 5):
            raise OSError("no space left on device")

    run = federate(tmp_path / "faulty", grid=partial(FaultyGrid, mangle=mangle), on_step=fail)
    assert run.state.digest == skipping(f"skip.{SITE}=[{ROUND}]", "skip.west=[2]").state.digest


def test_a_site_refused_twice_running_is_asked_no_more(federate, skipping, tmp_path: Path) -> None:
    mangle, _ = REFUSED["huge norm"]
    grid = partial(FaultyGrid, mangle=mangle, faults=[(SITE, 0), (SITE, 1)])
    run = federate(tmp_path / "faulty", "federation.rounds=4", grid=grid)
    assert run.state.digest == skipping("federation.rounds=4", f"skip.{SITE}=[0,1,2,3]").state.digest
    assert list(run.state.quarantined) == [SITE]
    assert "refused 2 times running, last: site north, round 1: norm" in run.state.quarantined[SITE]
    assert [list(receipt["quarantined"]) for receipt in run.receipts] == [[], [SITE], [SITE], [SITE]]
    assert SITE not in {**run.receipts[2]["absent"], **run.receipts[2]["refused"]}
    # Two sites of three are asked in rounds 2 and 3: 3 + 3 + 2 + 2 models went down.
    model = sum(value.nbytes for value in run.state.model.values())
    assert run.state.bytes_down == 10 * model


def test_refusals_with_a_good_round_between_them_do_not_quarantine(federate, skipping, tmp_path: Path) -> None:
    mangle, _ = REFUSED["NaN"]
    grid = partial(FaultyGrid, mangle=mangle, faults=[(SITE, 0), (SITE, 2)])
    run = federate(tmp_path / "faulty", grid=grid)
    assert run.state.quarantined == {}
    assert run.state.digest == skipping(f"skip.{SITE}=[0,2]").state.digest


def test_too_few_updates_pause_the_run_and_resuming_without_the_fault_ends_as_if_there_had_been_none(
    federate, skipping, tmp_path: Path
) -> None:
    mangle, _ = REFUSED["NaN"]
    with pytest.raises(FederationPaused) as caught:
        federate(tmp_path / "faulty", "federation.min_sites=3", grid=partial(FaultyGrid, mangle=mangle))
    assert "round 1 has 2 of at least 3 updates and stays open" in str(caught.value)
    assert f"{SITE}: site {SITE}, round 1: " in str(caught.value)
    assert "holds NaN or infinity" in str(caught.value)
    assert caught.value.exit_code == 7

    resumed = federate(tmp_path / "faulty", "federation.min_sites=3")
    assert resumed.state.digest == skipping().state.digest
    assert resumed.lines == skipping("federation.min_sites=3").lines


def test_refusals_count_across_pauses_until_a_person_lifts_the_quarantine(federate, skipping, tmp_path: Path) -> None:
    mangle, _ = REFUSED["NaN"]
    faulty = partial(FaultyGrid, mangle=mangle)
    told = []
    for grid in (faulty, faulty, InProcessGrid):  # refused, refused again, and now the fault is gone
        with pytest.raises(FederationPaused) as caught:
            federate(tmp_path / "faulty", "federation.min_sites=3", grid=grid)
        told.append(str(caught.value))
    assert f"{SITE}: quarantined" not in told[0]
    assert f"{SITE}: quarantined (refused 2 times running" in told[1]
    assert f"{SITE}: quarantined (refused 2 times running" in told[2]

    resumed = federate(tmp_path / "faulty", "federation.min_sites=3", reinstate=SITE)
    assert resumed.state.quarantined == {}
    assert resumed.state.digest == skipping().state.digest


def test_a_quarantine_that_leaves_too_few_sites_pauses_with_every_reason(federate, tmp_path: Path) -> None:
    mangle, _ = REFUSED["NaN"]
    grid = partial(FaultyGrid, mangle=mangle, faults=[(SITE, 0), (SITE, 1), ("west", 2)])
    with pytest.raises(FederationPaused) as caught:
        federate(tmp_path / "faulty", grid=grid)
    text = str(caught.value)
    assert "round 2 has 1 of at least 2 updates" in text
    assert f"{SITE}: quarantined (refused 2 times running" in text
    assert "west: site west, round 2" in text
    resumed = federate(tmp_path / "faulty")
    assert resumed.state.round == 3
    assert sorted(resumed.receipts[2]["contributors"]) == ["east", "west"]


def test_nobody_answers(federate, tmp_path: Path) -> None:
    with pytest.raises(FederationPaused, match="round 0 has 0 of at least 2 updates"):
        federate(tmp_path / "faulty", "skip.east=[0]", "skip.north=[0]", "skip.west=[0]")
