"""Hospitals in processes of their own: the same bits, and nothing that goes wrong in one stops the others."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.app import client_app
from client.trainer import OnStep
from simulations.workers import WorkerGrid

ROOT = Path(__file__).parents[2]
Make = Callable[..., Any]
PATIENCE = 600
"""Seconds after which something that will not happen any more is given up."""


def scripted(*, on_step: OnStep) -> ClientApp:
    """Does what the query says and answers with its process, its threads and its site."""
    application = ClientApp()

    @application.query("do")
    def do(message: Message, context: Context) -> Message:
        order = message.content.config_records["order"]
        folder = Path(str(context.node_config["folder"]))
        match order["do"]:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raise":
                raise RuntimeError("the disk is on fire")
            case "step":
                on_step(str(context.node_config["site"]), 1, 0.5, 4)
            case "meet":  # whoever comes waits for the other
                (folder / f"{context.node_id}.here").touch()
                until(lambda: len(list(folder.glob("*.here"))) == 2)
            case "alone":  # fails where another is at it
                with (folder / f"{context.node_id}.lock").open("x"):
                    time.sleep(0.2)
                (folder / f"{context.node_id}.lock").unlink()
        told = {"process": os.getpid(), "threads": torch.get_num_threads(), "node": context.node_id}
        return Message(RecordDict({"told": ConfigRecord(told)}), reply_to=message)

    return application


def dying(*, on_step: OnStep) -> ClientApp:
    """A hospital whose process is killed when `north` has taken the first of round 1's two steps."""

    def step(site: str, number: int, loss: float, images: int) -> None:
        on_step(site, number, loss, images)
        if (site, number) == ("north", 2):
            os.kill(os.getpid(), signal.SIGKILL)

    return client_app(on_step=step)


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def order(node: int, what: str = "tell") -> Message:
    content = RecordDict({"order": ConfigRecord({"do": what})})
    return Message(content, dst_node_id=node, message_type="query.do")


def told(reply: Message) -> dict[str, Any]:
    return dict(reply.content.config_records["told"])


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, int, float, int]]:
    """What the parent was told."""
    return []


@pytest.fixture(scope="module")
def grid(steps: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerGrid]:
    """Three nodes, two processes of three threads each."""
    nodes = [{"site": site, "folder": str(tmp_path_factory.getbasetemp())} for site in ("a", "b", "c")]
    torch.set_num_threads(3)
    with WorkerGrid(nodes, workers=2, on_step=lambda *step: steps.append(step), make_client=scripted) as made:
        yield made
    assert multiprocessing.active_children() == []


def test_two_sites_work_at_the_same_time(grid: WorkerGrid) -> None:
    replies = [told(reply) for reply in grid.send_and_receive([order(1, "meet"), order(2, "meet")])]
    assert sorted(reply["node"] for reply in replies) == [1, 2]
    assert len({reply["process"] for reply in replies} | {os.getpid()}) == 3


def test_a_worker_has_as_many_threads_as_the_parent_had(grid: WorkerGrid) -> None:
    assert {told(reply)["threads"] for reply in grid.send_and_receive([order(1), order(2)])} == {3}


def test_a_site_stays_in_its_process_where_that_costs_no_time(grid: WorkerGrid) -> None:
    rounds = [[told(*grid.send_and_receive([order(node)]))["process"] for node in (1, 2, 3)] for _ in range(3)]
    assert rounds[1] == rounds[2] == rounds[0]


def test_two_messages_of_one_site_do_not_run_at_once(grid: WorkerGrid) -> None:
    replies = grid.send_and_receive([order(node, "alone") for node in (1, 1, 2, 1)])
    assert [reply.error.reason for reply in replies if reply.has_error()] == []
    assert sorted(told(reply)["node"] for reply in replies) == [1, 1, 1, 2]


def test_steps_are_told_to_the_parent_before_the_reply(grid: WorkerGrid, steps: list[Any]) -> None:
    steps.clear()
    grid.send_and_receive([order(1, "step"), order(3, "step")])
    assert sorted(steps) == [("a", 1, 0.5, 4), ("c", 1, 0.5, 4)]


def test_an_exception_is_an_error_reply_and_the_process_goes_on(grid: WorkerGrid) -> None:
    before = told(*grid.send_and_receive([order(1)]))
    (reply,) = grid.send_and_receive([order(1, "raise")])
    assert reply.error.reason == "RuntimeError: the disk is on fire"
    assert reply.metadata.src_node_id == 1
    assert told(*grid.send_and_receive([order(1)])) == before


def test_a_killed_worker_is_an_error_reply_and_is_started_again(grid: WorkerGrid) -> None:
    before = told(*grid.send_and_receive([order(1)]))
    replies = grid.send_and_receive([order(1, "die"), order(2)])
    assert [(reply.metadata.src_node_id, reply.error.reason) for reply in replies if reply.has_error()] == [
        (1, f"the worker process ended with exit code {-signal.SIGKILL}")
    ]
    after = told(*grid.send_and_receive([order(1)]))
    assert {**after, "process": 0} == {**before, "process": 0}
    assert after["process"] != before["process"]


def test_a_reply_is_pulled_once_and_an_unknown_one_never(grid: WorkerGrid) -> None:
    first, second = grid.push_messages([order(1), order(2)])
    replies: list[Message] = []
    until(lambda: bool(replies.extend(grid.pull_messages([second])) or replies))
    assert told(replies[0])["node"] == 2
    assert grid.pull_messages([second, "no such message"]) == []
    until(lambda: bool(grid.pull_messages([first])))


def test_waiting_ends_when_time_is_up(grid: WorkerGrid) -> None:
    assert grid.send_and_receive([order(1, "alone")], timeout=0.0) == []
    (reply,) = grid.send_and_receive([order(1)])  # after the first has ended
    assert not reply.has_error()


def test_a_client_that_cannot_be_sent_to_a_worker_is_an_error_and_no_hang() -> None:
    with WorkerGrid([{"site": "a"}], workers=4, make_client=lambda on_step: ClientApp()) as made:
        (reply,) = made.send_and_receive([order(1)])
    assert "pickle" in reply.error.reason


class Backwards(WorkerGrid):
    """Of the replies that are awaited, the newest instruction's is handed over first."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._open: list[str] = []
        self.order: list[int] = []

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        pushed = super().push_messages(messages)
        self._open += pushed
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = super().pull_messages([self._open[-1]] if self._open and self._open[-1] in message_ids else [])
        for reply in replies:
            self._open.pop()
            self.order.append(reply.metadata.src_node_id)
        return replies


def test_the_result_is_that_of_one_process_whatever_the_order_of_the_replies(
    federate: Make, undisturbed: Any, tmp_path: Path
) -> None:
    steps: list[tuple[str, int]] = []
    made: list[Backwards] = []

    def backwards(_client: ClientApp, nodes: Iterable[Any]) -> Backwards:
        made.append(Backwards(nodes, workers=2, on_step=lambda site, step, loss, images: steps.append((site, step))))
        return made[0]

    run = federate(tmp_path / "workers", grid=backwards)
    # The counts, the plan, three rounds.
    assert made[0].order == [3, 2, 1] * 5
    assert run.state.digest == undisturbed.state.digest
    assert run.lines == undisturbed.lines
    assert sorted(steps) == [(site, step) for site in ("east", "north", "west") for step in range(6)]
    for site in ("east", "north", "west"):
        assert [step for at, step in steps if at == site] == list(range(6))


def test_a_hospital_whose_process_is_killed_is_absent_in_that_round_only(
    federate: Make, skipping: Make, tmp_path: Path
) -> None:
    run = federate(tmp_path / "dying", grid=lambda _, nodes: WorkerGrid(nodes, workers=2, make_client=dying))
    assert run.receipts[1]["absent"] == {"north": "the client failed: the worker process ended with exit code -9"}
    assert run.state.digest == skipping("skip.north=[1]").state.digest


def test_a_bad_reply_of_a_worker_is_refused(
    federate: Make, skipping: Make, faulty_workers: Make, poison: Make, tmp_path: Path
) -> None:
    run = federate(tmp_path / "bad", grid=lambda _, nodes: faulty_workers(nodes, workers=2, mangle=poison))
    assert "holds NaN or infinity" in run.receipts[1]["refused"]["north"]
    assert run.state.digest == skipping("skip.north=[1]").state.digest


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_stops_the_server_ends_the_workers(error: type[BaseException], federate: Make, tmp_path: Path) -> None:
    def stop(*step: Any) -> None:
        raise error

    def grid(_client: ClientApp, nodes: Iterable[Any]) -> WorkerGrid:
        return WorkerGrid(nodes, workers=2, on_step=stop)

    before = set(multiprocessing.active_children())
    with pytest.raises(error):
        federate(tmp_path / "stopped", "federation.local_steps=500", grid=grid)
    assert set(multiprocessing.active_children()) == before


def alive(process: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_the_simulator_and_a_resumed_run_ends_as_one_without_workers(
    sent: signal.Signals, comparable: Make, simulator: Make, config_file: Path, tmp_path: Path
) -> None:
    arguments = ["name=r", "federation.rounds=12", "training.batch=16"]
    workers = ["sim.backend=workers", "sim.workers=2"]
    assert simulator(*arguments, f"runs={tmp_path / 'elsewhere'}").exit_code == 0
    command = [sys.executable, "simulations/run.py", "--config", str(config_file), *arguments, *workers]
    receipts = tmp_path / "runs" / "r" / "arms" / "seed-0" / "federated" / "server" / "receipts.jsonl"
    # A test runner that was started in the background would hand down that Ctrl-C is ignored.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    output = tmp_path / "output"
    with (
        output.open("w") as file,
        subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, preexec_fn=heed) as process,
    ):
        until(lambda: receipts.exists() or process.poll() is not None)
        children = [int(child) for task in Path(f"/proc/{process.pid}/task").iterdir()
                    for child in (task / "children").read_text().split()]  # fmt: skip
        process.send_signal(sent)
        process.wait(timeout=PATIENCE)
    assert process.returncode == (130 if sent == signal.SIGINT else -sent), output.read_text()
    assert "Traceback" not in output.read_text()
    assert len(children) >= 2  # the workers, and what multiprocessing starts to clean up after them
    until(lambda: not any(map(alive, children)))
    resumed = simulator(*arguments, *workers, "--resume")
    assert resumed.exit_code == 0, resumed.output
    found, expected = comparable(tmp_path / "runs" / "r"), comparable(tmp_path / "elsewhere" / "r")
    assert found == expected
