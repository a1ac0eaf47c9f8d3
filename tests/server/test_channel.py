"""Messages over a grid of sites that are slow, broken or hostile."""

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from client.app import client_app
from core.errors import FederationPaused, UpdateRejected
from core.federation import wire
from core.federation.plan import Plan
from core.federation.task_section import section_of, task_to_json
from core.federation.tensors import Tensors, digest_of
from core.federation.update import Instruction, Skipped, Update
from server.channel import Channel
from server.task_study import TaskPlan
from simulations.grid import InProcessGrid

Handler = Callable[[Message, Context], RecordDict]


def app_of(*, counts: Handler | None = None, plan: Handler | None = None, train: Handler | None = None) -> ClientApp:
    """A `ClientApp` that answers with these records."""
    application = ClientApp()
    for kind, name, handler in (
        (application.query, "counts", counts),
        (application.query, "plan", plan),
        (application.train, "round", train),
    ):
        if handler is not None:
            kind(name)(_replying(handler))
    return application


def _replying(handler: Handler) -> Callable[[Message, Context], Message]:
    def reply(message: Message, context: Context) -> Message:
        return Message(handler(message, context), reply_to=message)

    return reply


def honest_counts(message: Message, context: Context) -> RecordDict:
    return wire.counts_to_records(str(context.node_config["site"]), {"liver": 2})


class SlowGrid(InProcessGrid):
    """Replies to the messages of some rounds are held back until a later round is asked."""

    def __init__(self, client: ClientApp, nodes: Iterable[dict[str, Any]], *, slow: set[tuple[int, int]]) -> None:
        super().__init__(client, nodes)
        self._slow = slow
        self._places: dict[str, tuple[int, int]] = {}
        self._newest = -1

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        messages = list(messages)
        identifiers = super().push_messages(messages)
        for identifier, message in zip(identifiers, messages, strict=True):
            if message.metadata.message_type == wire.TRAIN:
                number = int(message.metadata.group_id)
                self._places[identifier] = (message.metadata.dst_node_id, number)
                self._newest = max(self._newest, number)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        ready = [
            identifier
            for identifier in message_ids
            if self._places.get(identifier) not in self._slow or self._places[identifier][1] < self._newest
        ]
        return super().pull_messages(ready)


def instruction(number: int) -> Instruction:
    return Instruction(plan_digest="p", round=number, base={"a": np.zeros(1, np.float32)}, folded=None)


def update_of(message: Message, context: Context) -> RecordDict:
    """A plausible update for what was asked."""
    asked = wire.instruction_from_records(message.content)
    site = str(context.node_config["site"])
    return wire.answer_to_records(
        Update(site=site, plan_digest="p", round=asked.round, base_digest="b", arrays=asked.base, metrics={})
    )


def opened(
    application: ClientApp, *sites: str, timeout: float = 5.0, slow: set[tuple[int, int]] | None = None
) -> Channel:
    """A channel to these sites, which have told their counts."""
    channel = Channel(SlowGrid(application, [{"site": site} for site in sites], slow=slow or set()), timeout=timeout)
    channel.counts()
    return channel


def test_real_hospitals_tell_counts_approve_and_train(
    node: Callable[..., dict[str, Any]], plan: Plan, model: Tensors
) -> None:
    channel = Channel(InProcessGrid(client_app(), [node("north"), node("east")]), timeout=5.0)
    assert channel.counts() == plan.counts
    assert channel.nodes == {"north": 1, "east": 2}
    assert channel.approvals(plan.document) == {"east": (True, ""), "north": (True, "")}
    asked = Instruction(plan_digest=plan.digest, round=0, base=model, folded=None)
    answers = dict(channel.ask({"north": asked, "east": asked}))
    assert {site: (a.site, a.round, a.base_digest) for site, a in answers.items() if isinstance(a, Update)} == {
        site: (site, 0, digest_of(model)) for site in ("east", "north")
    }


def test_a_listed_hospital_refuses_through_the_wire(
    node: Callable[..., dict[str, Any]], plan: Plan, model: Tensors
) -> None:
    nodes = [node("north", approval="listed"), node("east")]
    channel = Channel(InProcessGrid(client_app(), nodes), timeout=5.0)
    channel.counts()
    approved, reason = channel.approvals(plan.document)["north"]
    assert not approved
    assert "not on the allow-list of site north" in reason
    asked = Instruction(plan_digest=plan.digest, round=0, base=model, folded=None)
    ((site, answer),) = channel.ask({"north": asked})
    assert site == "north"
    assert isinstance(answer, Skipped)
    assert "PlanError: site north has approved no plan yet" in answer.reason


def test_two_nodes_of_one_name_stop_the_study() -> None:
    channel = Channel(InProcessGrid(app_of(counts=honest_counts), [{"site": "a"}, {"site": "a"}]), timeout=1.0)
    with pytest.raises(FederationPaused, match="two nodes call themselves a; give each hospital a name of its own"):
        channel.counts()


def test_a_node_that_fails_to_count_stops_the_study_with_its_reason() -> None:
    def broken(message: Message, context: Context) -> RecordDict:
        raise OSError("no disk")

    channel = Channel(InProcessGrid(app_of(counts=broken), [{"site": "a"}]), timeout=1.0)
    with pytest.raises(FederationPaused, match="node 1 could not tell its counts: OSError: no disk"):
        channel.counts()


@pytest.mark.parametrize(
    "records",
    [
        wire.counts_to_records("../../etc", {"liver": 2}),
        wire.counts_to_records("a", {"liver": -2}),
        RecordDict({"site": ConfigRecord({"name": "a"}), "patients": MetricRecord({"liver": 0.5})}),
        RecordDict(),
    ],
)
def test_hostile_counts_stop_the_study_before_a_plan(records: RecordDict) -> None:
    channel = Channel(InProcessGrid(app_of(counts=lambda m, c: records), [{"site": "a"}]), timeout=1.0)
    with pytest.raises(UpdateRejected):
        channel.counts()


def test_an_approval_that_fails_or_is_malformed_is_a_refusal() -> None:
    def plan(message: Message, context: Context) -> RecordDict:
        if context.node_config["site"] == "a":
            raise ValueError("cannot read it")
        return RecordDict({"approval": ConfigRecord({"approved": "yes", "reason": ""})})

    channel = opened(app_of(counts=honest_counts, plan=plan), "a", "b")
    assert channel.approvals("{}") == {
        "a": (False, "ValueError: cannot read it"),
        "b": (False, "the answer to the plan is malformed"),
    }


def test_a_failed_client_is_a_site_that_sat_out_and_the_others_go_on() -> None:
    def train(message: Message, context: Context) -> RecordDict:
        if context.node_config["site"] == "a":
            raise RuntimeError("x" * 5000)
        return update_of(message, context)

    channel = opened(app_of(counts=honest_counts, train=train), "a", "b")
    answers = dict(channel.ask({"a": instruction(0), "b": instruction(0)}))
    assert isinstance(answers["b"], Update)
    assert isinstance(answers["a"], Skipped)
    assert answers["a"].reason.startswith("the client failed: RuntimeError: xxx")
    assert len(answers["a"].reason) < 400


@pytest.mark.parametrize("claimed", [0, 2, 10**9, -1])
def test_a_reply_that_claims_another_round_than_was_asked_is_refused(claimed: int) -> None:
    def train(message: Message, context: Context) -> RecordDict:
        return wire.answer_to_records(Skipped(site="a", round=claimed, reason=""))

    ((_, answer),) = opened(app_of(counts=honest_counts, train=train), "a").ask({"a": instruction(1)})
    assert isinstance(answer, UpdateRejected)
    assert f"the reply is for round {claimed}, round 1 was asked for" in str(answer)


def test_an_unreadable_reply_is_handed_on_as_such() -> None:
    channel = opened(app_of(counts=honest_counts, train=lambda m, c: RecordDict()), "a")
    ((site, answer),) = channel.ask({"a": instruction(0)})
    assert site == "a"
    assert isinstance(answer, UpdateRejected)


def test_a_silent_site_is_waited_for_no_longer_than_the_timeout() -> None:
    channel = opened(app_of(counts=honest_counts, train=update_of), "a", "b", timeout=0.3, slow={(1, 0)})
    start = time.monotonic()
    assert [site for site, _ in channel.ask({"a": instruction(0), "b": instruction(0)})] == ["b"]
    assert 0.3 <= time.monotonic() - start < 3.0


def test_a_late_reply_comes_in_the_next_round_with_its_own_number() -> None:
    channel = opened(app_of(counts=honest_counts, train=update_of), "a", "b", timeout=0.3, slow={(1, 0)})
    list(channel.ask({"a": instruction(0), "b": instruction(0)}))
    answers = [(site, answer.round) for site, answer in channel.ask({"a": instruction(1), "b": instruction(1)})]
    assert answers == [("a", 0), ("a", 1), ("b", 1)]
    assert [site for site, _ in channel.ask({"a": instruction(2), "b": instruction(2)})] == ["a", "b"]


def test_a_late_reply_that_is_unreadable_or_failed_is_only_late() -> None:
    calls = itertools.count()

    def train(message: Message, context: Context) -> RecordDict:
        if context.node_config["site"] == "b":
            return update_of(message, context)
        if wire.instruction_from_records(message.content).round == 0:
            return RecordDict()
        if next(calls) == 0:
            return update_of(message, context)
        raise RuntimeError

    channel = opened(app_of(counts=honest_counts, train=train), "a", "b", timeout=0.3, slow={(1, 0)})
    list(channel.ask({"a": instruction(0), "b": instruction(0)}))
    late, right, _ = channel.ask({"a": instruction(1), "b": instruction(1)})
    assert isinstance(late[1], Skipped)
    assert late[1].round == 0
    assert isinstance(right[1], Update)
    assert (right[0], right[1].round) == ("a", 1)


def test_hospitals_tell_who_has_a_label_and_only_those_asked_see_the_plan(
    task_node: Callable[..., dict[str, Any]], task_planned: TaskPlan
) -> None:
    plan, _, start = task_planned
    nodes = [task_node(site) for site in ("west", "north", "east")]
    channel = Channel(InProcessGrid(client_app(), nodes), timeout=5.0)
    told = channel.labelled(task_to_json(section_of(plan).task))
    assert told == {"east": {"lesion": 3}, "north": {"lesion": 1}, "west": {"lesion": 0}}
    answers = channel.approvals(plan.document, sites=plan.weights, start=start)
    assert answers == {"east": (True, ""), "north": (True, "")}
