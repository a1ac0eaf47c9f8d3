"""What a person sees while a simulation runs: live bars on a terminal, a few plain lines elsewhere."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from torch.utils.tensorboard import SummaryWriter

from server.state import ServerState

SMOOTHING = 0.98
"""Weight of the past in the shown loss."""
PLAIN_SECONDS = 20.0
"""At most one plain line in this many seconds and arm."""


class ArmProgress:
    """One arm's steps."""

    def __init__(self, display: "Display", label: str, steps: int, done: int) -> None:
        """Start counting; `done` steps were taken before."""
        self._display = display
        self._label = label
        self._steps = steps
        self._done = done
        self._loss: float | None = None
        self._images = 0
        self._round = ""
        self._start = self._said = time.monotonic()
        self._task = display.add(label, steps, done)
        self._writer = SummaryWriter(str(display.logs / _safe(label))) if display.logs else None

    def step(self, loss: float, images: int) -> None:
        """One optimizer step."""
        self._done += 1
        self._images += images
        self._loss = loss if self._loss is None else SMOOTHING * self._loss + (1 - SMOOTHING) * loss
        self._display.advance(self._task, self.text)
        if self._writer:
            self._writer.add_scalar("loss/train", loss, self._done)
        if self._display.plain and time.monotonic() - self._said > PLAIN_SECONDS:
            self._said = time.monotonic()
            self._display.say(f"{self._label}: step {self._done} of {self._steps}, {self.text}")

    def at(self, done: int) -> None:
        """So many steps are behind: taken before a kill, or sat out by a hospital."""
        self._done = done
        self._display.move(self._task, done)

    def round(self, state: ServerState, total: int) -> None:
        """One closed round of a federation."""
        self._round = f"round {state.round} of {total}, "
        for site, reason in state.quarantined.items():
            self._display.say(f"{self._label}: {site} is quarantined: {reason}")

    @property
    def text(self) -> str:
        """Round, loss, speed and time left."""
        if self._loss is None:  # a backend that tells no steps
            return f"{self._round}no step was told"
        speed = self._images / max(1e-9, time.monotonic() - self._start)
        return f"{self._round}loss {self._loss:.4f}, {speed:.0f} images/s"

    def close(self, *, finished: bool) -> None:
        """Say how it ended."""
        self._display.remove(self._task)
        if self._writer:
            self._writer.close()
        if finished:
            seconds = time.monotonic() - self._start
            self._display.say(f"{self._label}: {self._done} steps, {self.text}, {seconds:.1f} s")


class Display:
    """Everything that is shown goes through here."""

    def __init__(self, console: Console, *, logs: Path | None = None) -> None:
        """Show on `console`, with bars only when it is a terminal; TensorBoard files go below `logs`."""
        self.console = console
        self.logs = logs
        self.plain = not console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=console,
            disable=self.plain,
            transient=True,
        )
        self._preparing: dict[str, TaskID] = {}

    def __enter__(self) -> "Display":
        """Start the live part."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the live part."""
        self._bars.stop()

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def arm(self, label: str, *, steps: int, done: int = 0) -> Iterator[ArmProgress]:
        """Progress of one arm."""
        progress = ArmProgress(self, label, steps, done)
        finished = False
        try:
            yield progress
            finished = True
        finally:
            progress.close(finished=finished)

    def case_mix(self, table: Mapping[str, Mapping[str, int]]) -> None:
        """Who has what: training patients by hospital and organ."""
        organs = sorted({organ for held in table.values() for organ in held})
        shown = Table("hospital", *[escape(o.replace("_", " ")) for o in organs], "all", title="training patients")
        for column in shown.columns[1:]:
            column.justify = "right"
        for site, held in sorted(table.items()):
            counts = [str(held.get(organ, 0) or "-") for organ in organs]
            shown.add_row(Text(site), *counts, str(sum(held.values())))
        self.console.print(shown)

    def preparing(self, what: str, done: int, total: int) -> None:
        """Progress of decoding images or generating the phantom."""
        if what not in self._preparing:
            self._preparing[what] = self.add(what, total, 0)
        self._bars.update(self._preparing[what], completed=done, total=total)
        if done >= total:
            self.remove(self._preparing.pop(what))
            self.say(f"{what}: {total} done")

    def add(self, label: str, steps: int, done: int) -> TaskID:
        """A new bar."""
        return self._bars.add_task(label, total=steps, completed=done, text="")

    def advance(self, task: TaskID, text: str) -> None:
        """One step of a bar."""
        self._bars.update(task, advance=1, text=text)

    def move(self, task: TaskID, done: int) -> None:
        """A bar stands at `done` steps."""
        self._bars.update(task, completed=done)

    def remove(self, task: TaskID) -> None:
        """The bar is done."""
        self._bars.remove_task(task)


def _safe(label: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in label)
