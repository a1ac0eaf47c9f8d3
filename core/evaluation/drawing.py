"""How the report draws: style, colours, looks of the arms, and a drawing with its data.

Text, grid and arms are drawn in marker colours that `to_svg` turns into the page's CSS variables, so one figure serves
light, dark and print. Colours are those of Okabe and Ito, told apart by colour-blind readers; every arm also has a dash
and a marker of its own.

Source: M. Okabe, K. Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/
"""

import csv
import hashlib
import html
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure

from core.evaluation.arms import LOCAL

INK, GRID = "#010203", "#010204"
WIDTH = 5.6
"""Inches; the page stretches a figure to 36rem at most and shrinks it to a phone, where 11 points stay readable."""

_VARIABLES = {
    INK: "currentColor", GRID: "var(--grid)", "#0072b2": "var(--blue)", "#d55e00": "var(--red)",
    "#009e73": "var(--green)", "#e69f00": "var(--orange)", "#cc79a7": "var(--pink)", "#808891": "var(--grey)",
}  # fmt: skip

STYLE: dict[Any, Any] = {
    "svg.fonttype": "path", "svg.hashsalt": "usfm", "text.parse_math": False, "axes.unicode_minus": False,
    "font.family": "DejaVu Sans", "font.size": 11, "axes.titlesize": 11, "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": GRID, "axes.edgecolor": GRID, "legend.frameon": False, "figure.facecolor": "none",
    "axes.facecolor": "none", "savefig.facecolor": "none", "text.color": INK, "axes.labelcolor": INK,
    "xtick.color": INK, "ytick.color": INK, "figure.constrained_layout.use": True,
}  # fmt: skip


class Look(NamedTuple):
    """How an arm is drawn."""

    colour: str
    dash: str
    marker: str
    width: float = 1.8


_LOOKS = {
    "federated": Look("#0072b2", "-", "o", 2.6),
    "fedavg": Look("#d55e00", "--", "s"),
    "centralized": Look("#009e73", "-", "D"),
    "centralized_wide": Look("#009e73", "-.", "D"),
    "centralized_long": Look("#009e73", "-", "D"),
    "local_best": Look("#cc79a7", "-.", "^"),
    "local_mean": Look("#e69f00", "-", "v"),
    "random_init": Look("#808891", ":", "X"),
}
_LOCAL_LOOK = Look("#808891", "-", ".", 1.0)


def new_figure(height: float, *, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, np.ndarray]:
    """A figure of the page's width and its axes (rows, columns); to be called and drawn under `STYLE`."""
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def to_svg(figure: Figure, *, alt: str) -> str:
    """The figure as an inline `<svg>` with its alternative text; ids are its own, colours the page's."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    own = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1)


def plain(text: str, *, most: int = 24) -> str:
    """A label that the figure's font can draw: one line, cut at `most` characters, unknown ones as a question mark."""
    drawn = "".join(letter if ord(letter) in _drawable() and letter.isprintable() else "?" for letter in text)
    return drawn if len(drawn) <= most else drawn[: most - 1] + "…"


@cache
def _drawable() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A figure of the page and the numbers that it shows."""

    name: str
    """What its file of data is called, without the ending."""
    markup: str
    """SVG or HTML."""
    columns: tuple[str, ...]
    """Heads of the data."""
    rows: Sequence[Sequence[object]]
    """The data, one cell a column; None is an empty cell."""

    def csv(self) -> str:
        """The data as CSV."""
        return csv_text(self.columns, self.rows)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV. A name that a spreadsheet would run as a formula gets an apostrophe in front."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return buffer.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def look_of(arm: str) -> Look:
    """How an arm is drawn; one that is not known, and a hospital alone, in thin grey."""
    return _LOCAL_LOOK if arm.startswith(LOCAL) else _LOOKS.get(arm, _LOCAL_LOOK)


def legend(figure: Figure, drawn: dict[str, Any]) -> None:
    """A legend of two columns beneath the panels: label to what was drawn."""
    figure.legend(list(drawn.values()), list(drawn), loc="outside lower center", ncols=2, handlelength=2.6)
