"""What a row of the benchmark is, and how its two sides are measured: in turn, in this run, on this machine.

A machine that slows down slows both sides, and the median counts. Absolute numbers of two runs are not comparable;
ratios are. Memory is measured in a child process of its own, since a process does not give all of it back.
"""

import gc
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from core.errors import ConfigError

Work = Callable[[], object]
"""One unit of work; both sides of a row do the same amount."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How long and how large."""

    folder: Path
    """An empty folder for data and files; the caller removes it."""
    seconds: float = 5.0
    """For each side of a comparison, at least; every side runs three times."""
    threads: int = 1
    """Of torch; NumPy and the baselines in Python use one anyway."""
    small: bool = False
    """Sizes at which every row takes a moment: to see that it works, not how fast."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        if not self.seconds > 0:
            raise ConfigError(f"--seconds must be positive, got {self.seconds}")
        if self.threads < 1:
            raise ConfigError(f"--threads must be at least 1, got {self.threads}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One comparison; less is better on both sides."""

    name: str
    baseline_name: str
    ours_name: str
    goal: float
    """Least ratio wanted."""
    unit: str = "s"
    items: str = ""
    """Where the unit is seconds for one of something: its plural, to say how many a second."""
    sizes: str = ""
    """What was measured on: shapes, bytes, numbers of sites."""
    threads: int = 1
    baseline: float | None = None
    ours: float | None = None
    skipped: str = ""
    """Why nothing was measured; empty when it was."""

    @property
    def ratio(self) -> float | None:
        """Baseline by ours, above 1 when ours is better; None when nothing was measured."""
        return None if self.baseline is None or self.ours is None else self.baseline / max(self.ours, 1e-12)

    @property
    def met(self) -> bool | None:
        """Whether the ratio reaches the goal; None when nothing was measured."""
        return None if self.ratio is None else self.ratio >= self.goal

    @property
    def rates(self) -> tuple[float | None, float | None]:
        """Items a second, baseline's and ours; None without items or when nothing was measured."""
        sides = (self.baseline, self.ours)
        baseline, ours = (None if value is None or not self.items else 1 / max(value, 1e-12) for value in sides)
        return baseline, ours

    def document(self) -> dict[str, Any]:
        """The row as JSON values, ratio, rates and verdict included."""
        baseline_rate, ours_rate = self.rates
        return {**asdict(self), "baseline_rate": baseline_rate, "ours_rate": ours_rate,
                "ratio": self.ratio, "met": self.met}  # fmt: skip


def in_turn(row: Row, *, baseline: Work, ours: Work, seconds: float) -> Row:
    """The row with the median seconds of each side; one round to warm up."""
    works = (baseline, ours)
    found: tuple[list[float], list[float]] = ([], [])
    for work in works:
        work()
    end = time.monotonic() + 2 * seconds
    while time.monotonic() < end or len(found[1]) < 3:
        for samples, work in zip(found, works, strict=True):
            start = time.perf_counter()
            work()
            samples.append(time.perf_counter() - start)
    return replace(row, baseline=statistics.median(found[0]), ours=statistics.median(found[1]))


def in_child(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What a function of a module returns in a fresh process; its exception comes out here."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(work, *args, **kwargs).result()


def peak_growth(work: Work) -> float:
    """MB by which this process's resident set grew at most while working, on Linux; call it in a child process.

    Raises:
        ConfigError: the system does not tell (it is no Linux).
    """
    gc.collect()
    try:
        # Linux sets the peak (VmHWM) back to the present size for a 5 written here.
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        work()
        return (_status("VmHWM") - before) / 1e6
    except OSError as error:
        raise ConfigError(f"memory is measured through /proc/self, which needs Linux ({error})") from error


def _status(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"/proc/self/status has no {field}")
    return 1024 * int(found[1])
