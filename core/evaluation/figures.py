"""The report's figures as inline SVG.

Text, grid and arms are drawn in marker colours that `to_svg` turns into the page's CSS variables, so one figure serves
light, dark and print. Colours are those of Okabe and Ito, told apart by colour-blind readers; every arm also has a dash
and a marker of its own.

Source: M. Okabe, K. Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/
"""

import hashlib
import html
import io
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from core.evaluation.arms import LOCAL, MAIN_ARMS, arm_label, main_first
from core.evaluation.formats import seconds, words

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


@mpl.rc_context(STYLE)
def case_mix(table: Mapping[str, Mapping[str, int]]) -> str:
    """Hospitals by organs; a cell holds and is coloured by the number of patients."""
    sites = list(table)
    organs = sorted({organ for row in table.values() for organ in row})
    counts = np.array([[table[site].get(organ, 0) for organ in organs] for site in sites], float)
    depth = np.log1p(counts) / max(np.log1p(counts).max(initial=0), 1)
    figure, axes = new_figure(1.0 + 0.42 * len(sites))
    axis, colours = axes[0, 0], mpl.colormaps["Blues"]
    for (row, column), patients in np.ndenumerate(counts):
        shade = colours(0.1 + 0.9 * depth[row, column])
        light = float(np.dot(shade[:3], [0.2126, 0.7152, 0.0722])) > 0.45
        if patients:
            axis.fill_between([column - 0.48, column + 0.48], row - 0.46, row + 0.46, color=shade, linewidth=0)
        ink = INK if not patients else "#101418" if light else "#ffffff"
        axis.text(column, row, f"{patients:.0f}" if patients else "–", color=ink, ha="center", va="center")
    axis.set_xlim(-0.5, len(organs) - 0.5)
    axis.set_ylim(len(sites) - 0.5, -0.5)
    axis.set_xticks(
        range(len(organs)), [plain(words(o)) for o in organs], rotation=35, ha="right", rotation_mode="anchor"
    )
    totals = [f"{plain(site, most=20)} ({counts[row].sum():.0f})" for row, site in enumerate(sites)]
    axis.set_yticks(range(len(sites)), totals)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return to_svg(figure, alt=f"Number of training patients for {len(sites)} hospitals and {len(organs)} organs.")


Curves = Mapping[str, Sequence[tuple[float, float]]]


@mpl.rc_context(STYLE)
def loss_curves(training: Curves, held_out: Curves) -> str:
    """Loss against images seen, one panel for training and, where given, one for held-out patients."""
    panels = [(curves, title) for curves, title in ((training, "training images"), (held_out, "held-out patients"))
              if any(curves.values())]  # fmt: skip
    if not panels:
        return ""
    figure, axes = new_figure(0.9 + 2.5 * len(panels), rows=len(panels), sharex=True)
    drawn: dict[str, Any] = {}
    for axis, (curves, title) in zip(axes[:, 0], panels, strict=True):
        main, rest = main_first(curves)
        for arm in [*rest, *main]:
            if len(curves[arm]):
                label = "one hospital alone" if arm.startswith(LOCAL) else arm_label(arm)
                drawn[label] = _line(axis, arm, np.array(curves[arm], float))
        axis.set_title(title)
        axis.set_ylabel("loss")
        axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes[-1, 0].set_xlabel("images seen by the arm, all its hospitals together")
    axes[-1, 0].xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g}k" if x >= 1000 else f"{x:g}"))
    drawn = dict(reversed(drawn.items()))  # federated and its neighbours first
    figure.legend(list(drawn.values()), list(drawn), loc="outside lower center", ncols=2, handlelength=2.6)
    return to_svg(figure, alt="Loss against images seen for " + ", ".join(drawn) + ".")


def _line(axis: Axes, arm: str, points: np.ndarray) -> Any:
    """One arm's curve: means of at most 60 equal stretches, since a single step's loss is noisy."""
    look = _LOCAL_LOOK if arm.startswith(LOCAL) else _LOOKS.get(arm, _LOCAL_LOOK)
    points = points[np.isfinite(points).all(axis=1)]
    parts = [part.mean(axis=0) for part in np.array_split(points, min(60, len(points)) or 1) if len(part)]
    images, loss = np.array(parts or [[np.nan, np.nan]]).T
    marks: dict[str, Any] = {"marker": look.marker, "markersize": 5} if len(parts) <= 12 or arm == "random_init" else {}
    return axis.plot(images, loss, look.dash, color=look.colour, linewidth=look.width, **marks)[0]


@mpl.rc_context(STYLE)
def probe_scores(arms: Mapping[str, Mapping[str, Any]]) -> str:
    """Balanced accuracy of the main arms, a panel a task; filled: linear, hollow: k nearest neighbours."""
    shown = [arm for arm in MAIN_ARMS if arm in arms]
    tasks = sorted({task for arm in shown for task, scores in arms[arm].get("tasks", {}).items()
                    if {"linear", "knn"} & set(scores)})  # fmt: skip
    if not tasks:
        return ""
    figure, axes = new_figure(0.9 + (0.5 + 0.36 * len(shown)) * len(tasks), rows=len(tasks), sharex=True)
    for axis, task in zip(axes[:, 0], tasks, strict=True):
        axis.set_title(plain(words(task), most=60))
        for row, arm in enumerate(shown):
            scores = arms[arm].get("tasks", {}).get(task, {})
            for probe, offset in (("linear", -0.14), ("knn", 0.14)):
                _score(axis, scores.get(probe) or {}, arm, row + offset, hollow=probe == "knn")
        _chance(axis, [arms[arm].get("tasks", {}).get(task, {}) for arm in shown])
        axis.set_yticks(range(len(shown)), [arm_label(arm) for arm in shown])
        axis.set_ylim(len(shown) - 0.5, -0.5)
        axis.grid(visible=False, axis="y")
    axes[-1, 0].set_xlabel("balanced accuracy (bar: 95% interval over patients)")
    return to_svg(figure, alt="Probe scores with intervals for " + ", ".join(words(t) for t in tasks) + ".")


def _chance(axis: Axes, tasks: Sequence[Mapping[str, Any]]) -> None:
    """A dotted line where guessing stands, if the scores tell the number of classes."""
    classes = max((score.get("classes") or 0 for task in tasks for score in task.values()), default=0)
    if classes:
        axis.axvline(1 / classes, color=INK, linewidth=1, linestyle=(0, (1, 2)), zorder=0)


def _score(axis: Axes, score: Mapping[str, Any], arm: str, row: float, *, hollow: bool) -> None:
    mean, low, high, look = score.get("mean"), score.get("low"), score.get("high"), _LOOKS[arm]
    if mean is None:
        return
    if low is not None and high is not None:
        axis.plot([low, high], [row, row], color=look.colour, linewidth=1.6, linestyle="--" if hollow else "-")
    axis.plot(mean, row, "o", color=look.colour, markersize=6.5, fillstyle="none" if hollow else "full",
              markeredgewidth=1.6)  # fmt: skip


@mpl.rc_context(STYLE)
def cost(arms: Mapping[str, Mapping[str, Any]]) -> str:
    """Seconds of training and images a second of every arm that trained."""
    main, rest = main_first(arms)
    timed = [arm for arm in [*main, *rest]
             if arm not in ("local_mean", "local_best", "centralized") and arms[arm].get("seconds", 0) > 0]  # fmt: skip
    if not timed:
        return ""
    spent = [float(arms[arm]["seconds"]) for arm in timed]
    speed = [float(arms[arm].get("images", 0)) / duration for arm, duration in zip(timed, spent, strict=True)]
    figure, axes = new_figure(0.8 + 0.34 * len(timed), columns=2, sharey=True)
    for axis, values, title in ((axes[0, 0], spent, "training time"), (axes[0, 1], speed, "images a second")):
        colours = [_LOOKS.get(arm, _LOCAL_LOOK).colour for arm in timed]
        bars = axis.barh(range(len(timed)), values, color=colours, height=0.62)
        texts = [seconds(v) if title == "training time" else f"{v:.3g}" for v in values]
        axis.bar_label(bars, texts, padding=3)
        axis.set_xlim(0, max(values) * 1.6 or 1)
        axis.set_title(title)
        axis.set_xticks([])
        axis.spines["bottom"].set_visible(False)
        axis.grid(visible=False)
        axis.tick_params(length=0)
    axes[0, 0].set_yticks(range(len(timed)), [plain(arm_label(arm)) for arm in timed])
    axes[0, 0].set_ylim(len(timed) - 0.4, -0.6)
    return to_svg(
        figure, alt=f"Training time of {len(timed)} arms, from {seconds(min(spent))} to {seconds(max(spent))}."
    )
