"""The report's figures of what came out: losses by organ, the closed gap, differences, scores on tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from core.evaluation.arms import MAIN_ARMS, arm_label, main_first
from core.evaluation.drawing import STYLE, Drawing, legend, look_of, new_figure, plain, to_svg
from core.evaluation.formats import share, words
from core.evaluation.marks import dotted, draw_marks, finite, mark_of
from core.evaluation.result_tables import comparison_label
from core.evaluation.scores import (
    CLASSIFICATION,
    labelled,
    organs_of,
    probes_in,
    probes_of,
    score_of,
    seed_arms,
    seeds_of,
)

Metrics = Mapping[str, Any]


@mpl.rc_context(STYLE)
def organ_losses(metrics: Metrics) -> Drawing | None:
    """Held-out loss, a row an organ (the rarest first), then all; arms as marks, single seeds as dots."""
    arms, _ = main_first(metrics["arms"])
    organs = organs_of(metrics)
    if not organs or not arms:
        return None
    drawn_arms = arms if len(arms) < 3 else [arm for arm in arms if arm != "random_init"]  # far off, and it says little
    rows, data = [], []
    for organ in [*organs, "overall"]:
        marks = []
        for arm in arms:
            mean = metrics["arms"][arm].get("held_out_loss", {}).get(organ)
            seeds = {seed: entry.get("held_out_loss", {}).get(organ) for seed, entry in seed_arms(metrics, arm)}
            if arm in drawn_arms:
                marks.append(mark_of({"value": mean}, look_of(arm), seeds=[*seeds.values()], label=arm_label(arm)))
            data += [(organ, arm, seed, value) for seed, value in {"all": mean, **seeds}.items()]
        rows.append(("all" if organ == "overall" else words(organ), marks))
    figure, axes = new_figure(1.6 + (0.25 + 0.08 * len(drawn_arms)) * len(rows))
    drawn = draw_marks(axes[0, 0], rows)
    axes[0, 0].set_xlabel("held-out loss (lower is better)")
    legend(figure, drawn)
    return Drawing(
        name="losses-by-organ",
        markup=to_svg(figure, alt=f"Held-out loss by organ for {', '.join(drawn)}."),
        columns=("organ", "arm", "seed", "held_out_loss"),
        rows=data,
    )


@mpl.rc_context(STYLE)
def closed_gap(metrics: Metrics) -> Drawing | None:
    """The closed gap of the federation and of FedAvg: over all seeds, and hollow that of each."""
    rows, data = [], []
    for arm, key in (("federated", "gap_closed"), ("fedavg", "gap_closed_fedavg")):
        seeds = {seed: entry.get(key) or {} for seed, entry in seeds_of(metrics).items()}
        for seed, found in {"": metrics.get(key) or {}, **seeds}.items():
            data.append((arm, seed or "all", *(found.get(name) for name in ("value", "low", "high", "reason"))))
            if finite(found.get("value")) is not None:
                name = f"seed {seed}" if seed else arm_label(arm)
                rows.append((name, [mark_of(found, look_of(arm), hollow=bool(seed))]))
    if not rows:
        return None
    figure, axes = new_figure(0.9 + 0.36 * len(rows))
    draw_marks(axes[0, 0], rows)
    dotted(axes[0, 0], 0, 1)
    axes[0, 0].set_xlabel("gap closed (0: as alone, 1: as pooled)")
    values = ", ".join(f"{name} {share(marks[0].value)}" for name, marks in rows)
    return Drawing(
        name="gap-closed",
        markup=to_svg(figure, alt=f"Share of the gap closed: {values}."),
        columns=("arm", "seed", "value", "low", "high", "reason"),
        rows=data,
    )


@mpl.rc_context(STYLE)
def differences(metrics: Metrics) -> Drawing | None:
    """The differences that the run tests, a panel a unit, with their intervals and a line at zero."""
    known = metrics.get("comparisons") or {}
    groups: dict[str, list[str]] = {}
    for name, entry in known.items():
        if finite(entry.get("value")) is not None:
            groups.setdefault(entry.get("unit") or "", []).append(name)
    shown = [name for group in groups.values() for name in group]
    if not shown:
        return None
    heights = [len(group) + 0.5 for group in groups.values()]
    figure, axes = new_figure(0.7 * len(groups) + 0.5 * len(shown), rows=len(groups), height_ratios=heights)
    for axis, (unit, group) in zip(axes[:, 0], groups.items(), strict=True):
        names = [comparison_label(name).replace(", ", ",\n") for name in group]
        marks = [[mark_of(known[name], look_of("federated"))] for name in group]
        draw_marks(axis, list(zip(names, marks, strict=True)), most=30)
        dotted(axis, 0)
        axis.set_xlabel(plain(unit or "difference", most=40))
    keys = ("value", "low", "high", "unit", "meaning", "reason")
    return Drawing(
        name="differences",
        markup=to_svg(figure, alt=f"Differences with intervals: {', '.join(map(comparison_label, shown))}."),
        columns=("difference", *keys),
        rows=[(name, *(entry.get(key) for key in keys)) for name, entry in known.items()],
    )


@mpl.rc_context(STYLE)
def probe_scores(metrics: Metrics) -> Drawing | None:
    """Balanced accuracy of the main arms, a panel a task; filled: linear, hollow: k nearest neighbours."""
    shown = _shown(metrics)
    pairs = [pair for pair in _pairs(metrics, segmentation=False) if pair[1] in CLASSIFICATION]
    tasks = list(dict.fromkeys(task for task, _ in pairs))
    if not tasks:
        return None
    figure, axes = new_figure(0.9 + (0.5 + 0.36 * len(shown)) * len(tasks), rows=len(tasks), sharex=True)
    for axis, task in zip(axes[:, 0], tasks, strict=True):
        axis.set_title(plain(words(task), most=60))
        rows = []
        for arm in shown:
            look = look_of(arm)._replace(marker="o")
            marks = [
                mark_of(score_of(metrics["arms"][arm], task, probe), look, key="mean", hollow=probe == "knn",
                        seeds=_seeds(metrics, arm, task, probe))
                for probe in CLASSIFICATION
            ]  # fmt: skip
            rows.append((arm_label(arm), marks))
        draw_marks(axis, rows)
        scores = [score_of(metrics["arms"][arm], task, probe) for arm in shown for probe in CLASSIFICATION]
        if classes := max(score.get("classes") or 0 for score in scores):
            dotted(axis, 1 / classes)
    axes[-1, 0].set_xlabel("balanced accuracy (bar: 95% interval)")
    alt = f"Probe scores with intervals for {', '.join(map(words, tasks))}."
    return _drawing("probe-scores", to_svg(figure, alt=alt), metrics, segmentation=False)


@mpl.rc_context(STYLE)
def segmentation_scores(metrics: Metrics) -> Drawing | None:
    """Dice of the main arms, a panel a task: the frozen encoder to the left, then a line over the labelled patients."""
    shown = _shown(metrics)
    pairs = _pairs(metrics, segmentation=True)
    tasks = list(dict.fromkeys(task for task, _ in pairs))
    if not tasks:
        return None
    probes = sorted({probe for _, probe in pairs}, key=lambda probe: labelled(probe) or 0)
    figure, axes = new_figure(1.4 + 2.5 * len(tasks), rows=len(tasks), sharex=True)
    drawn: dict[str, Any] = {}
    for axis, task in zip(axes[:, 0], tasks, strict=True):
        axis.set_title(plain(words(task), most=60))
        axis.set_ylabel("Dice")
        for number, arm in enumerate(shown):
            shift = 0.5 * ((number + 0.5) / len(shown) - 0.5)
            _dice(axis, metrics, arm, task, probes, shift=shift, drawn=drawn)
        names = [
            f"fine-tuned\n{budget} patients" if (budget := labelled(probe)) else "frozen\nlinear map"
            for probe in probes
        ]
        axis.set_xticks(range(len(probes)), names)
        axis.set_xlim(-0.5, len(probes) - 0.5)
        axis.grid(visible=False, axis="x")
    legend(figure, drawn)
    alt = f"Dice with intervals for {', '.join(map(words, tasks))}."
    return _drawing("segmentation-scores", to_svg(figure, alt=alt), metrics, segmentation=True)


def _dice(
    axis: Axes, metrics: Metrics, arm: str, task: str, probes: Sequence[str], *, shift: float, drawn: dict[str, Any]
) -> None:
    """One arm in one panel; the line joins the few-label scores alone, since the frozen one is another measure."""
    look = look_of(arm)
    scores = [score_of(metrics["arms"][arm], task, probe) for probe in probes]
    means = np.array([finite(score.get("mean")) for score in scores], float)
    places = np.arange(len(probes)) + shift
    for place, probe, score in zip(places, probes, scores, strict=True):
        if score.get("low") is not None and score.get("high") is not None:
            axis.plot([place, place], [score["low"], score["high"]], color=look.colour, linewidth=1.2)
        seeds = [seed for seed in _seeds(metrics, arm, task, probe) if finite(seed) is not None]
        axis.plot([place] * len(seeds), seeds, ".", color=look.colour, markersize=4, alpha=0.75)
    few = np.array([labelled(probe) is not None for probe in probes])
    axis.plot(places[few], means[few], look.dash, color=look.colour, linewidth=look.width * 0.7)
    if np.isfinite(means).any():
        (handle,) = axis.plot(places, means, look.marker, color=look.colour, markersize=5.5, linestyle="none")
        drawn.setdefault(arm_label(arm), handle)


def _shown(metrics: Metrics) -> list[str]:
    return [arm for arm in MAIN_ARMS if arm in metrics["arms"]]


def _pairs(metrics: Metrics, *, segmentation: bool) -> list[tuple[str, str]]:
    """(task, probe) of the main arms."""
    return probes_in((metrics["arms"][arm] for arm in _shown(metrics)), segmentation=segmentation)


def _seeds(metrics: Metrics, arm: str, task: str, probe: str) -> list[Any]:
    return [score_of(entry, task, probe).get("mean") for _, entry in seed_arms(metrics, arm)]


def _drawing(name: str, markup: str, metrics: Metrics, *, segmentation: bool) -> Drawing:
    """The drawing with every arm's scores as its data."""
    keys = ("mean", "low", "high", "reason")
    rows = []
    for task, probe in probes_of(metrics, segmentation=segmentation):
        for arm, entry in metrics["arms"].items():
            scores = {"all": entry, **dict(seed_arms(metrics, arm))}
            rows += [(task, probe, arm, seed, *(score_of(found, task, probe).get(key) for key in keys))
                     for seed, found in scores.items() if score_of(found, task, probe)]  # fmt: skip
    return Drawing(name=name, markup=markup, columns=("task", "probe", "arm", "seed", *keys), rows=rows)
