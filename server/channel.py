"""Messages over a Flower grid: ask every site, take replies as they come, wait no longer than the timeout."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from flwr.app import ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid

from core.errors import FederationPaused, UpdateRejected
from core.federation import wire
from core.federation.tensors import Tensors
from core.federation.update import Instruction, Skipped
from server.admission import Answer

POLL_SECONDS = 0.2
"""Pause between two looks for replies, when the last look found none."""


@dataclass
class Channel:
    """The sites of a study behind a grid."""

    grid: Grid
    timeout: float
    """Seconds for the replies of one round."""
    nodes: dict[str, int] = field(default_factory=dict)
    """Flower node by site; filled by `counts`."""
    _outstanding: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Message id to site and round, for replies that have not come yet, of this round or an earlier one."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Ask every connected node for its site's name and patients by organ.

        Raises:
            FederationPaused: A node did not answer, or two nodes claim one name.
        """
        return self._counted(wire.COUNTS, RecordDict())

    def labelled(self, document: str) -> dict[str, dict[str, int]]:
        """Ask every connected node for its patients with a label of a task; raises what `counts` raises."""
        return self._counted(wire.LABELS, wire.task_to_records(document))

    def _counted(self, kind: str, content: RecordDict) -> dict[str, dict[str, int]]:
        nodes = sorted(self.grid.get_node_ids())
        messages = {node: self._message(content, kind, node, "counts") for node in nodes}
        found: dict[str, dict[str, int]] = {}
        for node, message in self._exchange(messages):
            if message.has_error():
                raise FederationPaused(f"node {node} could not tell its counts: {_reason(message)}")
            site, held = wire.counts_from_records(message.content)
            if site in found:
                raise FederationPaused(f"two nodes call themselves {site}; give each hospital a name of its own")
            found[site] = held
            self.nodes[site] = node
        if len(found) < len(nodes):
            raise FederationPaused(f"{len(nodes) - len(found)} of {len(nodes)} nodes did not tell their counts in time")
        return dict(sorted(found.items()))

    def approvals(
        self, document: str, *, sites: Iterable[str] | None = None, start: Tensors | None = None
    ) -> dict[str, tuple[bool, str]]:
        """Show the plan, and the encoder it starts from, to these sites or to all; (approved, reason) by site."""
        by_node = {self.nodes[site]: site for site in (self.nodes if sites is None else sites)}
        content = wire.plan_to_records(document, start=start)
        messages = {node: self._message(content, wire.PLAN, node, "plan") for node in by_node}
        answers = dict.fromkeys(by_node.values(), (False, "no answer in time"))
        for node, message in self._exchange(messages):
            site = by_node[node]
            failed = message.has_error()
            answers[site] = (False, _reason(message)) if failed else wire.approval_from_records(message.content)
        return answers

    def ask(self, instructions: Mapping[str, Instruction]) -> Iterator[tuple[str, Answer]]:
        """Send instructions, yield (site, answer) as replies come; a late one comes in a later round's call."""
        waiting: set[str] = set()
        model: tuple[object, ArrayRecord] | None = None
        for site, instruction in sorted(instructions.items()):
            if model is None or model[0] is not instruction.base:
                model = (instruction.base, wire.arrays_to_record(instruction.base))  # once for all sites of a round
            content = wire.instruction_to_records(instruction, base=model[1])
            message = self._message(content, wire.TRAIN, self.nodes[site], str(instruction.round))
            waiting |= self._push(message, site=site, number=instruction.round)
        end = time.monotonic() + self.timeout
        while waiting and time.monotonic() < end:
            idle = True
            for identifier, (site, asked) in list(self._outstanding.items()):
                replies = list(self.grid.pull_messages([identifier]))
                late = identifier not in waiting
                yield from ((site, _answer(reply, site=site, asked=asked, late=late)) for reply in replies)
                if replies:
                    idle = False
                    waiting.discard(identifier)
                    del self._outstanding[identifier]
            if idle and waiting:
                time.sleep(POLL_SECONDS)

    def _push(self, message: Message, *, site: str, number: int) -> set[str]:
        identifiers = set(self.grid.push_messages([message]))
        self._outstanding |= dict.fromkeys(identifiers, (site, number))
        return identifiers

    def _exchange(self, messages: Mapping[int, Message]) -> Iterable[tuple[int, Message]]:
        replies = self.grid.send_and_receive(messages.values(), timeout=self.timeout)
        return [(reply.metadata.src_node_id, reply) for reply in replies]

    def _message(self, content: RecordDict, kind: str, node: int, group: str) -> Message:
        return Message(content, dst_node_id=node, message_type=kind, group_id=group)


def _answer(reply: Message, *, site: str, asked: int, late: bool) -> Answer:
    """What came back for round `asked`; a late reply that cannot be read is late, and held against nobody."""
    if reply.has_error():
        return Skipped(site=site, round=asked, reason=f"the client failed: {_reason(reply)}")
    try:
        answer = wire.answer_from_records(reply.content)
        if answer.round != asked:
            raise UpdateRejected(f"the reply is for round {answer.round}, round {asked} was asked for")
        return answer
    except UpdateRejected as error:
        return Skipped(site=site, round=asked, reason=str(error)) if late else error


def _reason(message: Message) -> str:
    return (message.error.reason or f"error {message.error.code}")[:300]
