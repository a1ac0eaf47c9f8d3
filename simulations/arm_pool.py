"""Arms trained at the same time, each in a process of its own: steps as small as these use one core best.

A process opens the run by its folder, trains one arm after another and leaves the results on disk, where the parent
finds them; so a killed process loses no more than a killed run does. An arm's bits do not depend on who trains it.
"""

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from pathlib import Path

import torch
from rich.console import Console

from core import config as configuration
from core.errors import TimeIsUp, TrainingError
from simulations.arms import Bench, benches_of
from simulations.config import SimulationConfig
from simulations.deadline import Deadline
from simulations.display import Display
from simulations.prepare import Prepared, prepare
from simulations.results import load_result
from simulations.score import Scorer, train_and_score


def train_at_once(benches: Sequence[Bench], *, processes: int) -> None:
    """Train and score every arm that has no result yet, the longest first.

    Raises:
        UsfmError: What an arm raised. TimeIsUp comes only after every process has stopped at a saved state.
        TrainingError: A process was killed.
    """
    jobs = [(bench, name) for bench in benches for name in bench.names() if load_result(bench.arms / name) is None]
    jobs.sort(key=lambda job: (job[1] == "random_init", job[1].startswith("local:")))
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(processes, mp_context=context, initializer=begin) as pool:
            follow(
                pool.submit(_train, bench.folder, bench.seed, name, bench.reinstate, bench.deadline)
                for bench, name in jobs
            )
    except BrokenProcessPool as error:
        raise TrainingError(
            "a process that trained an arm was killed (is memory short?); lower sim.arms_at_once, --resume goes on"
        ) from error


def follow(submitted: Iterable[Future[None]], *, on_done: Callable[[], None] = lambda: None) -> None:
    """Wait for all. The first error ends the others, but time that is up ends each at a saved state of its own.

    Args:
        submitted: What runs in the processes of this one.
        on_done: Told, here, after each that ended well.
    """
    futures: list[Future[None]] = []
    late: list[TimeIsUp] = []
    try:
        futures.extend(submitted)  # here, so that Ctrl-C meets the guard below whenever it comes
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    future.result()
                    on_done()
                except TimeIsUp as error:
                    late.append(error)
    except BaseException:
        for future in futures:
            future.cancel()
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    if late:
        raise late[0]


def begin() -> None:
    """A new process: Ctrl-C is the parent's to handle, and a parent that is gone takes its processes along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _train(folder: Path, seed: int, name: str, reinstate: tuple[str, ...], deadline: Deadline) -> None:
    """One arm, in a process of the pool."""
    config, prepared = _opened(folder)
    with Display(Console(force_terminal=False), logs=folder / "tensorboard") as display:
        benches = benches_of(config, prepared, display=display, folder=folder, reinstate=reinstate, deadline=deadline)
        bench = next(bench for bench in benches if bench.seed == seed)
        train_and_score(bench, name, Scorer(bench))


@functools.cache
def _opened(folder: Path) -> tuple[SimulationConfig, Prepared]:
    config, _ = configuration.load(SimulationConfig, path=folder / "config.yaml", overrides=())
    torch.set_num_threads(config.threads)
    return config, prepare(config, progress=lambda *_: None)
