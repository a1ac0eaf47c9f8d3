"""Flower grids on this machine: what they share, and the one that works inside this process.

No network, no polling. In `InProcessGrid` a site's work runs when the server looks for its reply, one after the other.
So no two replies are in memory at once; the instructions are, all with one copy of the model.
"""

import itertools
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

NodeConfig = Mapping[str, str | int | float | bool]


class LocalGrid(Grid):
    """Nodes 1 to n, one a hospital, in the order of their configurations; how they work, a subclass says."""

    def __init__(self, nodes: Iterable[NodeConfig]) -> None:
        """Connect one node for each configuration."""
        # Flower's Message reads these three from the process; a SuperLink would have set them.
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
        self._nodes = dict(enumerate(nodes, start=1))
        self._run = Run.create_empty(run_id=1)
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """`close`."""
        self.close()

    def close(self) -> None:
        """Let go of what the grid holds; here nothing."""

    def set_run(self, run: Run) -> None:
        """Keep what `run` returns."""
        self._run = run

    @property
    def run(self) -> Run:
        """What was set, or Flower's empty run."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message to one node."""
        return Message(content, dst_node_id=dst_node_id, message_type=message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> list[int]:
        """Every node."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Take the messages; an identifier for each, by which its reply is pulled."""
        identifiers = []
        for message in messages:
            identifiers.append(f"m{next(self._numbers)}")
            self._take(identifiers[-1], message)
        return identifiers

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Push, then pull until every reply has come or `timeout` seconds are over; in the order in which they came."""
        identifiers = self.push_messages(messages)
        end = None if timeout is None else time.monotonic() + timeout
        replies = list(self.pull_messages(identifiers))
        while len(replies) < len(identifiers) and (end is None or time.monotonic() < end):
            replies += self.pull_messages(identifiers)
        return replies

    @abstractmethod
    def _take(self, identifier: str, message: Message) -> None:
        """Keep a message that was pushed."""


class InProcessGrid(LocalGrid):
    """The real `ClientApp` is called when its reply is pulled."""

    def __init__(self, client: ClientApp, nodes: Iterable[NodeConfig]) -> None:
        """Connect one node for each configuration, all served by `client`."""
        super().__init__(nodes)
        self._client = client
        self._contexts = contexts_of(self._nodes)
        self._waiting: dict[str, Message] = {}

    def _take(self, identifier: str, message: Message) -> None:
        self._waiting[identifier] = message

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Run the client for each message and return its replies."""
        waiting = (self._waiting.pop(identifier) for identifier in message_ids if identifier in self._waiting)
        return [answer(self._client, message, self._contexts[message.metadata.dst_node_id]) for message in waiting]


def contexts_of(nodes: Mapping[int, NodeConfig]) -> dict[int, Context]:
    """Flower's context of each node."""
    return {
        number: Context(run_id=1, node_id=number, node_config=dict(node), state=RecordDict(), run_config={})
        for number, node in nodes.items()
    }


def answer(client: ClientApp, message: Message, context: Context) -> Message:
    """What the client answers; an exception becomes the error reply that a SuperNode would send."""
    try:
        return client(message, context)
    except Exception as error:
        return failed(message, f"{type(error).__name__}: {error}")


def failed(message: Message, reason: str) -> Message:
    """The error reply to a message."""
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


def serve(server: ServerApp, grid: Grid, *, run_config: dict[str, Any]) -> None:
    """Run a `ServerApp` over a grid in this process; its errors come out as they are."""
    server(grid, Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=run_config))
