"""Cells computed at the same time, each in a process of its own that opens the study by its folder."""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from core.errors import TrainingError
from simulations.arm_pool import begin, follow
from simulations.deadline import Deadline
from simulations.display import Display
from simulations.label_efficiency.bench import opened
from simulations.label_efficiency.cells import Found, Job, compute_cell, read_cell

PLAIN_SECONDS = 20.0
"""At most one plain line of progress in this many seconds."""


class Cells:
    """Computes the cells that are not there yet; the processes last as long as the study."""

    def __init__(self, folder: Path, *, executor: Executor | None, display: Display, deadline: Deadline) -> None:
        """Compute in this process where there is no executor."""
        self._folder = folder
        self._executor = executor
        self._display = display
        self._deadline = deadline

    def run(self, jobs: Sequence[Job], *, what: str) -> list[Found]:
        """Every job's cell, from its file or computed now.

        Args:
            jobs: In the order of computing.
            what: For the line of progress.

        Raises:
            UsfmError: What a cell raised. TimeIsUp comes only after every cell that was begun is written.
            TrainingError: A process was killed.
        """
        waiting = [job for job in jobs if read_cell(job) is None]
        with _progress(self._display, what, total=len(jobs), done=len(jobs) - len(waiting)) as advance:
            if self._executor is None:
                for job in waiting:
                    _compute(self._folder, job, self._deadline)
                    advance()
            else:
                self._at_once(self._executor, waiting, advance)
        found = [read_cell(job) for job in jobs]
        return [cell for cell in found if cell is not None]

    def _at_once(self, executor: Executor, jobs: Sequence[Job], advance: Callable[[], None]) -> None:
        try:
            follow((executor.submit(_compute, self._folder, job, self._deadline) for job in jobs), on_done=advance)
        except BrokenProcessPool as error:
            raise TrainingError(
                "a process that computed a cell was killed (is memory short?); lower processes, --resume goes on"
            ) from error


@contextmanager
def cells_of(folder: Path, *, processes: int, display: Display, deadline: Deadline) -> Iterator[Cells]:
    """Cells of the study in `folder`, `processes` at once."""
    opened.cache_clear()  # what an earlier study of this process left
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=begin) if processes > 1 else None
    with pool or nullcontext():
        yield Cells(folder, executor=pool, display=display, deadline=deadline)


def _compute(folder: Path, job: Job, deadline: Deadline) -> None:
    """One cell, in a process of the pool or in this one."""
    deadline.check(f"cell {job.name}")
    torch.set_num_threads(opened(folder).config.threads)
    compute_cell(folder, job)


@contextmanager
def _progress(display: Display, what: str, *, total: int, done: int) -> Iterator[Callable[[], None]]:
    """Tell `finished of total` and the time left: a bar on a terminal, elsewhere a line now and then."""
    bar, start, said, first = display.add(what, total, done), time.monotonic(), time.monotonic(), done

    def advance() -> None:
        nonlocal done, said
        done += 1
        now = time.monotonic()
        left = (now - start) / (done - first) * (total - done) / 60
        text = f"{done} of {total} cells, {left:.1f} minutes left"
        display.advance(bar, text)
        if display.plain and (now - said > PLAIN_SECONDS) and done < total:
            said = now
            display.say(f"{what}: {text}")

    try:
        yield advance
    finally:
        display.remove(bar)
    display.say(f"{what}: {total} cells, {total - first} of them in {(time.monotonic() - start) / 60:.1f} minutes now")
