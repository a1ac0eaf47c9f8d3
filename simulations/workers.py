"""A Flower grid whose hospitals work in processes of their own, several at a time.

Each of W processes holds one `ClientApp` and takes a message whenever it is free: of a site that worked there last if
one waits, else of a site that is new, else of a site whose last process is at work. With K sites of equal work a round
takes ceil(K / W) times one site's, the least possible. A fixed assignment of sites takes as long where nothing disturbs
it, but leaves a core idle where the other is slower, or where sites sit a round out. Since a site stays where it was
as long as that costs no time, its images and model are mostly in one process; at worst they are in all.

Nothing of the result depends on where a site works: what it must remember is in its folder, and the model comes with
the instruction. Two messages of one site never run at once, since both would write to that folder.

Processes are spawned: a fork of a process in which torch's threads have run may hang. Messages travel as
`multiprocessing` sends them, pickled and in memory, between this process and those that it has started, and nobody
else. One thread of this process looks after each worker, so that a worker gets its next message also while the server
folds.

A worker that dies (for want of memory, for example) answers with an error, as a hospital that fails does, and is
started again for the next message. No worker outlives its grid: `close`, an error of the server and Ctrl-C kill it,
and it ends itself when this process is gone.
"""

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import torch
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp

from client.app import client_app
from client.trainer import OnStep
from simulations.grid import LocalGrid, NodeConfig, answer, contexts_of, failed

LOOK_SECONDS = 0.05
"""Longest wait of one look for replies."""
GRACE_SECONDS = 5.0
"""For a worker that has closed its pipe to be gone."""
MakeClient = Callable[..., ClientApp]
"""Makes a worker's `ClientApp`; called with `on_step`. A function at the top of a module, so that it can be sent."""


@dataclass(eq=False)
class _Worker:
    """One process, started when there is work."""

    process: SpawnProcess | None = None
    pipe: Connection | None = None
    """Our end."""
    node: int | None = None
    """For which it is at work."""


class WorkerGrid(LocalGrid):
    """Nodes served by worker processes; use it as a context manager."""

    def __init__(
        self,
        nodes: Iterable[NodeConfig],
        *,
        workers: int,
        on_step: OnStep | None = None,
        make_client: MakeClient = client_app,
    ) -> None:
        """Connect one node for each configuration.

        Args:
            nodes: Configurations of the hospitals.
            workers: Processes, at least 1; no more than nodes are started.
            on_step: Told of every step of every site, in the thread that pulls.
            make_client: Makes the `ClientApp` of each process.
        """
        super().__init__(nodes)
        self._on_step = on_step
        self._make_client = make_client
        self._threads_each = torch.get_num_threads()  # in the plan: workers must compute the same bits
        self._changed = threading.Condition()
        self._waiting: dict[str, Message] = {}
        self._done: dict[str, Message] = {}
        self._last: dict[int, _Worker] = {}
        """Where each node worked last."""
        self._steps: queue.SimpleQueue[tuple[str, int, float, int]] = queue.SimpleQueue()
        self._closed = False
        self._workers = [_Worker() for _ in range(min(workers, len(self._nodes)))]
        # Started here, since it unblocks the signal that `_look_after` blocks for its processes.
        resource_tracker.ensure_running()
        self._keepers = [
            threading.Thread(target=self._look_after, args=(worker,), daemon=True) for worker in self._workers
        ]
        for keeper in self._keepers:
            keeper.start()

    def close(self) -> None:
        """Kill the workers, whatever they do: their files are whole or not there."""
        with self._changed:
            self._closed = True
            for process in [worker.process for worker in self._workers]:
                if process is not None:
                    process.kill()
            self._changed.notify_all()
        for keeper in self._keepers:
            keeper.join()

    def _take(self, identifier: str, message: Message) -> None:
        with self._changed:
            self._waiting[identifier] = message
            self._changed.notify_all()

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies that are there; waits a moment for one if none is."""
        wanted = list(message_ids)
        end = time.monotonic() + LOOK_SECONDS
        with self._changed:
            while not any(identifier in self._done for identifier in wanted) and self._working():
                if not self._changed.wait(end - time.monotonic()):
                    break
            replies = [self._done.pop(identifier) for identifier in wanted if identifier in self._done]
        while not self._steps.empty():
            step = self._steps.get()
            if self._on_step is not None:
                self._on_step(*step)
        return replies

    def _working(self) -> bool:
        return bool(self._waiting) or any(worker.node is not None for worker in self._workers)

    def _look_after(self, worker: _Worker) -> None:
        """Give a worker one message after the other, until the grid is closed."""
        # Ctrl-C is for this process, whose main thread closes the grid; a process inherits what is blocked here.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        while (taken := self._next(worker)) is not None:
            identifier, message = taken
            reply = self._ask(worker, message)
            with self._changed:
                worker.node = None
                self._done[identifier] = reply
                self._changed.notify_all()
            del taken, message, reply  # not held while waiting for the next
        _end(worker)

    def _next(self, worker: _Worker) -> tuple[str, Message] | None:
        """Wait for a message that this worker should take; None when the grid is closed."""
        with self._changed:
            while not self._closed:
                if (identifier := self._choose(worker)) is not None:
                    message = self._waiting.pop(identifier)
                    worker.node = message.metadata.dst_node_id
                    self._last[worker.node] = worker
                    return identifier, message
                self._changed.wait()
        return None

    def _choose(self, worker: _Worker) -> str | None:
        """The message for a worker that is free: of a node that worked there last, of a new one, of any other."""
        at_work = {other.node for other in self._workers}
        ranked = []
        for identifier, message in self._waiting.items():
            node = message.metadata.dst_node_id
            last = self._last.get(node)
            # What worked last in another process that is free is left to it.
            if node not in at_work and (last in (None, worker) or last.node is not None):
                ranked.append((0 if last is worker else 1 if last is None else 2, identifier))
        return min(ranked, key=lambda entry: entry[0])[1] if ranked else None

    def _ask(self, worker: _Worker, message: Message) -> Message:
        """The worker's reply, or an error reply when it died."""
        try:
            pipe = self._start(worker)
            pipe.send(message)
            message.content = RecordDict()  # the model in it is no longer needed here
            while True:
                kind, value = pipe.recv()
                if kind == "reply":
                    assert isinstance(value, Message)
                    return value
                self._steps.put(value)
        except (EOFError, ConnectionError):
            if worker.process is not None:
                worker.process.join(GRACE_SECONDS)  # for the exit code that is its own
            return failed(message, f"the worker process ended with exit code {_end(worker)}")
        except Exception as error:  # whatever else it is, the round must not wait for it
            _end(worker)
            return failed(message, f"the worker process: {type(error).__name__}: {error}")

    def _start(self, worker: _Worker) -> Connection:
        """The pipe to the worker's process, which is started when there is none."""
        with self._changed:
            if self._closed:
                raise EOFError("the grid is closed")
            if worker.pipe is None:
                context = multiprocessing.get_context("spawn")
                ours, theirs = context.Pipe()
                settings = (theirs, self._make_client, self._nodes, self._threads_each)
                process = context.Process(target=_work, args=settings, daemon=True)
                process.start()
                theirs.close()  # so that the pipe ends when the process does
                worker.process, worker.pipe = process, ours
            return worker.pipe


def _end(worker: _Worker) -> int | None:
    """Kill what is left of a worker; its exit code, a negative signal number when it was killed."""
    code = None
    if worker.process is not None:
        worker.process.kill()
        worker.process.join()
        code = worker.process.exitcode
    if worker.pipe is not None:
        worker.pipe.close()
    worker.process, worker.pipe = None, None
    return code


def _work(pipe: Connection, make_client: MakeClient, nodes: Mapping[int, NodeConfig], threads: int) -> None:
    """What a worker does: answer messages until the pipe or the parent ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)

    def tell(*step: Any) -> None:
        pipe.send(("step", step))

    client, contexts = make_client(on_step=tell), contexts_of(nodes)
    with contextlib.suppress(EOFError, ConnectionError):  # the parent is gone
        while True:
            message = pipe.recv()
            pipe.send(("reply", answer(client, message, contexts[message.metadata.dst_node_id])))
            del message


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
