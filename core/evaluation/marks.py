"""Marks beside names: the one way in which values with intervals are drawn, whatever the rows are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from core.evaluation.drawing import GRID, INK, Look, plain

SPREAD, STEP = 0.62, 0.3
"""Part of a row's height over which its marks are spread, so that equal values stay apart; at most, and each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A value, its interval where it has one, the values of single training seeds, and how it looks."""

    value: float | None
    low: float | None = None
    high: float | None = None
    seeds: Sequence[float] = ()
    """Small dots."""
    look: Look
    hollow: bool = False
    label: str = ""
    """Its entry in the legend."""


def mark_of(
    found: Mapping[str, Any] | None, look: Look, *, key: str = "value", seeds: Sequence[Any] = (),
    hollow: bool = False, label: str = "",
) -> Mark:  # fmt: skip
    """A mark of an interval or a score of `metrics.json`; what is no finite number is left out."""
    entry = found or {}
    value, low, high = (finite(entry.get(name)) for name in (key, "low", "high"))
    known = [number for number in map(finite, seeds) if number is not None]
    return Mark(value=value, low=low, high=high, seeds=known, look=look, hollow=hollow, label=label)


def finite(value: Any) -> float | None:
    """The number, or None for anything else."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def draw_marks(axis: Axes, rows: Sequence[tuple[str, Sequence[Mark]]], *, most: int = 26) -> dict[str, Line2D]:
    """Draw a row for every name, top down, the marks of a row one below the other.

    Args:
        axis: Where.
        rows: Name (a line break in it stays) and marks; a mark without a value keeps its place.
        most: Letters of a name's line.

    Returns:
        What a legend needs: label to a mark of it.
    """
    drawn: dict[str, Line2D] = {}
    for row, (_, marks) in enumerate(rows):
        spread = min(SPREAD, STEP * (len(marks) - 1))
        for position, mark in enumerate(marks):
            place = row + spread * (position / max(1, len(marks) - 1) - 0.5)
            if mark.seeds:
                axis.plot(mark.seeds, [place] * len(mark.seeds), ".", color=mark.look.colour, markersize=4, alpha=0.75)
            if mark.value is not None:
                drawn.setdefault(mark.label, _draw(axis, mark, mark.value, place))
    names = ["\n".join(plain(line, most=most) for line in name.split("\n")) for name, _ in rows]
    axis.set_yticks(range(len(rows)), names)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    if max((len(marks) for _, marks in rows), default=0) > 2:  # else it is plain what belongs to which name
        for row in range(1, len(rows)):
            axis.axhline(row - 0.5, color=GRID, linewidth=0.8, zorder=0)
    return drawn


def _draw(axis: Axes, mark: Mark, value: float, place: float) -> Line2D:
    look, fill = mark.look, "none" if mark.hollow else "full"
    if mark.low is not None and mark.high is not None:
        axis.plot([mark.low, mark.high], [place, place], "--" if mark.hollow else "-", color=look.colour, linewidth=1.6)
    options: dict[str, Any] = {"markersize": 6.5, "markeredgewidth": 1.6, "fillstyle": fill, "linestyle": "none"}
    return axis.plot(value, place, look.marker, color=look.colour, **options)[0]


def dotted(axis: Axes, *places: float) -> None:
    """Dotted upright lines at values that mean something: chance, no difference, all of the gap."""
    for place in places:
        axis.axvline(place, color=INK, linewidth=1, linestyle=(0, (1, 2)), zorder=0)
