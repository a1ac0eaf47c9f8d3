"""What a person sees while a model is fine-tuned: a live bar on a terminal, a few plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

PLAIN_SECONDS = 20.0
"""At most one plain line in this many seconds."""
SMOOTHING = 0.9
"""Weight of the past in the shown loss."""


class Display:
    """Everything that is shown goes through here."""

    def __init__(self, console: Console) -> None:
        """Show on `console`, with a bar only when it is a terminal."""
        self.console = console
        self._said = time.monotonic()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )

    def say(self, text: str) -> None:
        """One line, taken as it is."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, label: str, *, total: int) -> Iterator["Bar"]:
        """A bar of so many steps."""
        with self._bars:
            task = self._bars.add_task(label, total=total, text="")
            try:
                yield Bar(self, self._bars, task, label)
            finally:
                self._bars.remove_task(task)

    def sometimes(self, text: str) -> None:
        """A plain line where there is no bar, not too often."""
        if not self.console.is_terminal and time.monotonic() - self._said > PLAIN_SECONDS:
            self._said = time.monotonic()
            self.say(text)


class Bar:
    """How far one thing is."""

    def __init__(self, display: Display, bars: Progress, task: TaskID, label: str) -> None:
        self._display, self._bars, self._task, self._label = display, bars, task, label
        self._loss: float | None = None
        self._score = ""

    def at(self, done: int, total: int, text: str = "") -> None:
        """So many of so many are done."""
        self._bars.update(self._task, completed=done, total=total, text=text)
        self._display.sometimes(f"{self._label}: {done} of {total}{f', {text}' if text else ''}")

    def step(self, step: int, loss: float, total: int) -> None:
        """An optimizer step was taken, from 0; the loss that is shown is smoothed."""
        self._loss = loss if self._loss is None else SMOOTHING * self._loss + (1 - SMOOTHING) * loss
        self.at(step + 1, total, f"loss {self._loss:.3f}{self._score}")

    def score(self, validation: float | None) -> None:
        """Validation patients were scored."""
        if validation is not None:
            self._score = f", validation {validation:.3f}"
