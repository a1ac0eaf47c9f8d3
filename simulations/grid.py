"""A Flower grid inside one process: the real `ClientApp` is called when its reply is pulled.

No network, no polling: a site's work runs when the server looks for its reply, one after the other. So no two replies
are in memory at once; the instructions are, all with one copy of the model.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

NodeConfig = Mapping[str, str | int | float | bool]


class InProcessGrid(Grid):
    """Nodes 1 to n, one a hospital, in the order of their configurations."""

    def __init__(self, client: ClientApp, nodes: Iterable[NodeConfig]) -> None:
        """Connect one node for each configuration."""
        # Flower's Message reads these three from the process; a SuperLink would have set them.
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
        self._client = client
        self._contexts = {
            number: Context(run_id=1, node_id=number, node_config=dict(node), state=RecordDict(), run_config={})
            for number, node in enumerate(nodes, start=1)
        }
        self._run = Run.create_empty(run_id=1)
        self._waiting: dict[str, Message] = {}
        self._numbers = itertools.count()

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
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Keep the messages until their replies are pulled."""
        identifiers = []
        for message in messages:
            identifier = f"m{next(self._numbers)}"
            self._waiting[identifier] = message
            identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Run the client for each message and return its replies."""
        return [
            self._answer(self._waiting.pop(identifier)) for identifier in message_ids if identifier in self._waiting
        ]

    # `timeout` is in Flower's interface; a call in one process returns when it is done.
    def send_and_receive(
        self,
        messages: Iterable[Message],
        *,
        timeout: float | None = None,  # noqa: ARG002
    ) -> list[Message]:
        """Push, then pull all."""
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message:
        try:
            return self._client(message, self._contexts[message.metadata.dst_node_id])
        except Exception as error:
            return Message(
                Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, f"{type(error).__name__}: {error}"), reply_to=message
            )


def run_federation(
    server: ServerApp, client: ClientApp, *, nodes: Iterable[NodeConfig], run_config: dict[str, Any]
) -> None:
    """Run a `ServerApp` against `ClientApp`s in this process; errors of the server come out as they are."""
    grid = InProcessGrid(client, nodes)
    server(grid, Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=run_config))
