"""Flower's own simulation engine on Ray (`pip install '.[ray]'`): for more processes than one machine has, or GPUs.

The same `ServerApp` and `ClientApp` as everywhere. Flower's engine gives a node nothing but its `partition-id`, and a
Ray actor gets the client anew with every message; so what is sent is a small `ClientApp` that knows the list of our
node configurations, takes the one of its partition and hands on to the one real `ClientApp` of its process. Steps are
not told while a round runs, since nothing but the reply comes back from an actor.
"""

import functools
import threading
from collections.abc import Iterable
from typing import Any

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from client.app import client_app
from core.errors import FederationPaused
from simulations.grid import NodeConfig, serve

PARTITION = "partition-id"
"""Flower's name for the number of a simulated node, from 0."""
POLL_SECONDS = 0.1
"""Pause between two looks whether the nodes are there."""


def run_on_ray(
    server: ServerApp, nodes: Iterable[NodeConfig], *, workers: int, gpus: float, run_config: dict[str, Any]
) -> None:
    """Run a `ServerApp` against the hospitals in Ray's processes; `SimConfig` has seen that Ray is installed.

    Args:
        server: The consortium's app.
        nodes: One configuration a hospital.
        workers: Processes that work at the same time.
        gpus: Part of a GPU that each may take; 0 for none.
        run_config: What the server's app reads.

    Raises:
        UsfmError: Whatever the server raises, as it is.
    """
    configs = [dict(node) for node in nodes]
    stopped = threading.Event()
    wrapped = ServerApp()

    @wrapped.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 -- Flower's engine has no place for a run's settings
        _ready(grid, nodes=len(configs), stopped=stopped)
        serve(server, grid, run_config=run_config)

    try:
        run_simulation(
            wrapped,
            _ByPartition(configs, threads=torch.get_num_threads()),
            num_supernodes=len(configs),
            backend_config={
                "init_args": {"num_cpus": min(workers, len(configs)), "include_dashboard": False},
                "client_resources": {"num_cpus": 1, "num_gpus": gpus},
            },
        )
    finally:
        stopped.set()


class _ByPartition(ClientApp):
    """Hands a message to its process's `ClientApp`, with the configuration of the node's partition."""

    def __init__(self, nodes: list[dict[str, str | int | float | bool]], *, threads: int) -> None:
        super().__init__()
        self._configs = nodes
        self._threads = threads

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer as the hospital of this partition."""
        torch.set_num_threads(self._threads)
        own = Context(
            run_id=context.run_id,
            node_id=context.node_id,
            node_config=self._configs[int(context.node_config[PARTITION])],
            state=context.state,
            run_config={},
        )
        return _client()(message, own)


@functools.cache
def _client() -> ClientApp:
    """The one `ClientApp` of a process: images and models stay in memory between messages."""
    return client_app()


def _ready(grid: Grid, *, nodes: int, stopped: threading.Event) -> None:
    """Wait for every node, and see that the server's thread ends with the engine: no reply can come any more then."""
    pull = grid.pull_messages

    def pull_messages(message_ids: Iterable[str]) -> Iterable[Message]:
        if stopped.is_set():
            raise FederationPaused("Ray has ended before the study; see what it says, then --resume goes on")
        return pull(message_ids)

    grid.pull_messages = pull_messages  # type: ignore[method-assign]  # the rest of Flower's grid stays its own
    while len(list(grid.get_node_ids())) < nodes and not stopped.wait(POLL_SECONDS):
        pass  # the engine starts the server before it registers its nodes
