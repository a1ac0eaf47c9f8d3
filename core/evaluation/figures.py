"""The report's figures of a run's course: who holds what, how the loss fell, what it cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from core.evaluation.arms import LOCAL, arm_label, main_first
from core.evaluation.drawing import INK, STYLE, Drawing, legend, look_of, new_figure, plain, to_svg
from core.evaluation.formats import seconds, words


@mpl.rc_context(STYLE)
def case_mix(table: Mapping[str, Mapping[str, int]]) -> Drawing | None:
    """Hospitals by organs; a cell holds and is coloured by the number of patients."""
    if not table:
        return None
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
    return Drawing(
        name="case-mix",
        markup=to_svg(figure, alt=f"Number of training patients for {len(sites)} hospitals and {len(organs)} organs."),
        columns=("hospital", *organs),
        rows=[(site, *(table[site].get(organ, 0) for organ in organs)) for site in sites],
    )


Curves = Mapping[str, Sequence[tuple[float, float]]]


@mpl.rc_context(STYLE)
def loss_curves(training: Curves, held_out: Curves) -> Drawing | None:
    """Loss against images seen, one panel for training and, where given, one for held-out patients."""
    panels = [(curves, title) for curves, title in ((training, "training images"), (held_out, "held-out patients"))
              if any(curves.values())]  # fmt: skip
    if not panels:
        return None
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
    legend(figure, drawn)
    return Drawing(
        name="loss-curves",
        markup=to_svg(figure, alt="Loss against images seen for " + ", ".join(drawn) + "."),
        columns=("arm", "patients", "images", "loss"),
        rows=[(arm, title, *point) for curves, title in panels for arm, curve in curves.items() for point in curve],
    )


def _line(axis: Axes, arm: str, points: np.ndarray) -> Any:
    """One arm's curve: means of at most 60 equal stretches, since a single step's loss is noisy."""
    look = look_of(arm)
    points = points[np.isfinite(points).all(axis=1)]
    parts = [part.mean(axis=0) for part in np.array_split(points, min(60, len(points)) or 1) if len(part)]
    images, loss = np.array(parts or [[np.nan, np.nan]]).T
    marks: dict[str, Any] = {"marker": look.marker, "markersize": 5} if len(parts) <= 12 or arm == "random_init" else {}
    return axis.plot(images, loss, look.dash, color=look.colour, linewidth=look.width, **marks)[0]


@mpl.rc_context(STYLE)
def cost(arms: Mapping[str, Mapping[str, Any]]) -> Drawing | None:
    """Seconds of training and images a second of every arm that trained."""
    main, rest = main_first(arms)
    timed = [arm for arm in [*main, *rest]
             if arm not in ("local_mean", "local_best", "centralized") and arms[arm].get("seconds", 0) > 0]  # fmt: skip
    if not timed:
        return None
    spent = [float(arms[arm]["seconds"]) for arm in timed]
    speed = [float(arms[arm].get("images", 0)) / duration for arm, duration in zip(timed, spent, strict=True)]
    figure, axes = new_figure(0.8 + 0.34 * len(timed), columns=2, sharey=True)
    for axis, values, title in ((axes[0, 0], spent, "training time"), (axes[0, 1], speed, "images a second")):
        colours = [look_of(arm).colour for arm in timed]
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
    return Drawing(
        name="cost",
        markup=to_svg(
            figure, alt=f"Training time of {len(timed)} arms, from {seconds(min(spent))} to {seconds(max(spent))}."
        ),
        columns=("arm", "seconds", "images", "images_per_second"),
        rows=[
            (arm, arms[arm]["seconds"], arms[arm].get("images"), rate) for arm, rate in zip(timed, speed, strict=True)
        ],
    )
