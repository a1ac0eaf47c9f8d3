"""What Flower does, as baselines: its aggregation, its simulation on Ray, and a round of messages over any grid."""

import importlib.util
import itertools
import logging
import os
import statistics
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from core.federation import wire
from core.federation.tensors import Tensors
from core.federation.update import Instruction, Update
from server.channel import Channel
from simulations.grid import InProcessGrid

WEIGHT = "num-examples"
QUIET: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}


def reply(arrays: Mapping[str, npt.NDArray[Any]]) -> RecordDict:
    """A client's reply as Flower gets it: arrays as bytes, one metric as weight."""
    return RecordDict(
        {
            "arrays": ArrayRecord({name: Array(value) for name, value in arrays.items()}),
            "metrics": MetricRecord({WEIGHT: 1}),
        }
    )


def on_the_wire(records: RecordDict) -> tuple[str, dict[str, bytes]]:
    """A message's content as Flower sends it: the root's identifier, and the bytes of each object."""
    return records.object_id, {name: part.deflate() for name, part in get_all_nested_objects(records).items()}


def off_the_wire(root: str, contents: dict[str, bytes], *, keep: bool = True) -> RecordDict:
    """What Flower makes of it when a server pulls; `keep` leaves the bytes for another time."""
    found = inflate_object_from_contents(root, contents, keep_object_contents=keep)
    assert isinstance(found, RecordDict)
    return found


def aggregate(replies: Iterable[RecordDict]) -> ArrayRecord:
    """Flower's weighted mean."""
    return aggregate_arrayrecords(list(replies), WEIGHT)


def without_ray() -> str:
    """Why Flower's simulation cannot run here; empty when it can."""
    if importlib.util.find_spec("ray") is not None:
        return ""
    return "ray cannot be imported; it is an extra of Flower: pip install 'flwr[simulation]'"


def no_op() -> ClientApp:
    """A client that trains nothing: arrays to torch and back, as the tutorials do around their training."""
    application = ClientApp()

    @application.train()
    def train(message: Message, context: Context) -> Message:  # noqa: ARG001 -- Flower's signature
        with torch.no_grad():  # the name torch makes Ray's worker import it, which Flower wants done
            state = message.content.array_records["arrays"].to_torch_state_dict()
            content = RecordDict({"arrays": ArrayRecord(state), "metrics": MetricRecord({WEIGHT: 1, "idle": 1})})
        return Message(content, reply_to=message)

    return application


def averaging(model: Tensors, *, sites: int, rounds: int, ends: list[float]) -> ServerApp:
    """Flower's FedAvg over all sites; the clock at the end of each round goes to `ends`."""
    application = ServerApp()

    @application.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 -- Flower's signature
        def note(number: int, arrays: ArrayRecord) -> None:  # noqa: ARG001 -- Flower's signature
            ends.append(time.perf_counter())

        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=sites, min_available_nodes=sites)
        arrays = ArrayRecord({name: torch.from_numpy(value) for name, value in model.items()})
        result = strategy.start(grid=grid, initial_arrays=arrays, num_rounds=rounds, evaluate_fn=note)
        # FedAvg passes over clients that failed.
        assert len(result.train_metrics_clientapp) == rounds, "Flower's clients failed"

    return application


def messages_only(model: Tensors, *, sites: int, rounds: int, ends: list[float]) -> ServerApp:
    """The model to every site and back, no more; the clock at the end of each round goes to `ends`."""
    application = ServerApp()

    @application.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 -- Flower's signature
        arrays = ArrayRecord({name: Array(value) for name, value in model.items()})
        while len(nodes := list(grid.get_node_ids())) < sites:
            time.sleep(0.05)
        ends.append(time.perf_counter())
        for number in range(rounds):
            content = RecordDict({"arrays": arrays})
            sent = [Message(content, dst_node_id=node, message_type="train", group_id=str(number)) for node in nodes]
            replies = list(grid.send_and_receive(sent))
            failed = [message.error.reason for message in replies if message.has_error()]
            assert len(replies) == sites, f"{len(replies)} of {sites} replied"
            assert not failed, failed[0]
            ends.append(time.perf_counter())

    return application


def on_ray(model: Tensors, *, sites: int, rounds: int, whole: bool) -> float:
    """Seconds a client of Flower's simulation, the median of the rounds after the first; run it in a child process."""
    os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    root = str(Path(__file__).resolve().parents[2])
    # Ray's workers are processes of their own, which find our client by its module.
    os.environ["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    from flwr.simulation import run_simulation  # Ray is an extra

    logging.getLogger("flwr").setLevel(logging.ERROR)
    ends: list[float] = []
    make = averaging if whole else messages_only
    server = make(model, sites=sites, rounds=rounds, ends=ends)
    resources: dict[str, Any] = {"num_cpus": 1, "num_gpus": 0.0}
    run_simulation(
        server, no_op(), num_supernodes=sites, backend_config={"init_args": QUIET, "client_resources": resources}
    )
    return seconds_of(ends) / sites


def in_process(model: Tensors, *, sites: int, rounds: int) -> float:
    """The model to every site and back by our channel, wire and grid: seconds a client."""
    application = ClientApp()

    @application.train("round")
    def train(message: Message, context: Context) -> Message:
        instruction = wire.instruction_from_records(message.content)
        arrays: dict[str, npt.NDArray[Any]] = dict(instruction.base)
        site = str(context.node_config["site"])
        update = Update(site=site, plan_digest="", round=instruction.round, base_digest="", arrays=arrays)
        return Message(wire.answer_to_records(update), reply_to=message)

    names = [f"s{number:02d}" for number in range(sites)]
    grid = InProcessGrid(application, [{"site": name} for name in names])
    channel = Channel(grid, timeout=3600.0, nodes=dict(zip(names, grid.get_node_ids(), strict=True)))
    ends = [time.perf_counter()]
    for number in range(rounds):
        sent = dict.fromkeys(names, Instruction(plan_digest="", round=number, base=model, folded=None))
        assert all(isinstance(answer, Update) for _, answer in channel.ask(sent))
        ends.append(time.perf_counter())
    return seconds_of(ends) / sites


def seconds_of(ends: list[float]) -> float:
    """Median length of the rounds that end at these times, but for the first, which also starts things up."""
    return statistics.median(end - start for start, end in itertools.pairwise(ends[1:]))
