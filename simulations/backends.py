"""Where the hospitals of a simulated federation work: in this process, in worker processes, or in Ray's."""

from collections.abc import Iterable
from typing import Any

from client.app import client_app
from client.trainer import OnStep
from server.app import server_app
from server.rounds import Observer
from simulations.config import SimConfig
from simulations.grid import InProcessGrid, LocalGrid, NodeConfig, serve
from simulations.ray_engine import run_on_ray
from simulations.workers import WorkerGrid


def federate(
    sim: SimConfig,
    *,
    nodes: Iterable[NodeConfig],
    run_config: dict[str, Any],
    observer: Observer,
    on_step: OnStep,
) -> None:
    """Run one study of the real `ClientApp` and `ServerApp`; the same bits on every backend.

    Args:
        sim: Which backend, and how many processes.
        nodes: One configuration a hospital.
        run_config: What the server's app reads.
        observer: Told of the rounds.
        on_step: Told of the steps; Ray tells none.

    Raises:
        UsfmError: Whatever the server raises, as it is.
    """
    server = server_app(observer=observer)
    if sim.backend == "ray":
        run_on_ray(server, nodes, workers=sim.workers, gpus=sim.gpus_each, run_config=run_config)
    else:
        with _grid(sim, nodes, on_step=on_step) as grid:
            serve(server, grid, run_config=run_config)


def _grid(sim: SimConfig, nodes: Iterable[NodeConfig], *, on_step: OnStep) -> LocalGrid:
    if sim.backend == "workers":
        return WorkerGrid(nodes, workers=sim.workers, on_step=on_step)
    return InProcessGrid(client_app(on_step=on_step), nodes)
