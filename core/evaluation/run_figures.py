"""Figures that set several runs side by side; what is drawn of a run is its federated arm."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from core.evaluation.arms import arm_label
from core.evaluation.drawing import STYLE, Drawing, Look, legend, look_of, new_figure, plain, to_svg
from core.evaluation.formats import seconds, size, words
from core.evaluation.marks import Mark, dotted, draw_marks, finite, mark_of
from core.evaluation.scores import organs_of, probe_label, probes_in, score_of, seed_arms

Runs = Mapping[str, Mapping[str, Any]]
"""Run -> the content of its `metrics.json`."""

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#808891")
_MARKERS = ("o", "s", "D", "v", "^", "X", "P")
OURS = "federated"


def looks_of(names: Sequence[str]) -> dict[str, Look]:
    """A look for every run; colour and marker together repeat after 42 runs."""
    pairs = [(_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]) for i in range(len(names))]
    return {name: Look(colour, "-", marker) for name, (colour, marker) in zip(names, pairs, strict=True)}


def organ_order(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Organs of all runs, each where the first run that has it puts it."""
    return list(dict.fromkeys(organ for metrics in runs for organ in organs_of(metrics)))


@mpl.rc_context(STYLE)
def gaps(runs: Runs) -> Drawing | None:
    """The closed gap of every run, filled, and of its FedAvg, hollow."""
    kinds = (("gap_closed", OURS), ("gap_closed_fedavg", "fedavg"))
    rows = []
    for name, metrics in runs.items():
        marks = [
            mark_of(metrics.get(key), look_of(arm), hollow=arm != OURS, label=arm_label(arm)) for key, arm in kinds
        ]
        if any(mark.value is not None for mark in marks):
            rows.append((name, marks))
    if not rows:
        return None
    figure, axes = new_figure(1.3 + 0.5 * len(rows))
    drawn = draw_marks(axes[0, 0], rows)
    dotted(axes[0, 0], 0, 1)
    axes[0, 0].set_xlabel("gap closed (0: as alone, 1: as pooled)")
    legend(figure, drawn)
    keys = ("value", "low", "high", "reason")
    return Drawing(
        name="gap-closed",
        markup=to_svg(figure, alt=f"Share of the gap closed in {len(rows)} runs, with intervals."),
        columns=("run", "arm", *keys),
        rows=[(name, arm, *((metrics.get(key) or {}).get(column) for column in keys))
              for name, metrics in runs.items() for key, arm in kinds],
    )  # fmt: skip


@mpl.rc_context(STYLE)
def organ_losses(runs: Runs) -> Drawing | None:
    """Held-out loss of the federated arm by organ, a mark a run; only runs whose losses compare are to be given."""
    organs, looks = organ_order(list(runs.values())), looks_of(list(runs))
    rows, data = [], []
    for organ in [*organs, "overall"]:
        marks = []
        for name, metrics in runs.items():
            value = _arm(metrics).get("held_out_loss", {}).get(organ)
            seeds = {seed: arm.get("held_out_loss", {}).get(organ) for seed, arm in seed_arms(metrics, OURS)}
            marks.append(mark_of({"value": value}, looks[name], seeds=[*seeds.values()], label=name))
            data += [(organ, name, seed, number) for seed, number in {"all": value, **seeds}.items()]
        rows.append(("all" if organ == "overall" else words(organ), marks))
    if not any(mark.value is not None for _, marks in rows for mark in marks):
        return None
    figure, axes = new_figure(1.6 + (0.25 + 0.08 * len(runs)) * len(rows))
    drawn = draw_marks(axes[0, 0], rows)
    axes[0, 0].set_xlabel("held-out loss, federated (lower is better)")
    _run_legend(figure, drawn)
    return Drawing(
        name="losses-by-organ",
        markup=to_svg(figure, alt=f"Held-out loss of the federated arm by organ in {len(runs)} runs."),
        columns=("organ", "run", "seed", "held_out_loss"),
        rows=data,
    )


@mpl.rc_context(STYLE)
def scores(runs: Runs, *, segmentation: bool) -> Drawing | None:
    """Dice, or balanced accuracy, of the federated arm by task and probe, a mark a run."""
    looks = looks_of(list(runs))
    pairs = probes_in((_arm(metrics) for metrics in runs.values()), segmentation=segmentation)
    keys = ("mean", "low", "high", "reason")
    rows: list[tuple[str, list[Mark]]] = []
    data: list[tuple[object, ...]] = []
    for task, probe in pairs:
        marks = []
        for name, metrics in runs.items():
            score = score_of(_arm(metrics), task, probe)
            seeds = {seed: score_of(arm, task, probe).get("mean") for seed, arm in seed_arms(metrics, OURS)}
            marks.append(mark_of(score, looks[name], key="mean", seeds=[*seeds.values()], label=name))
            data.append((task, probe, name, "all", *(score.get(key) for key in keys)))
            data += [(task, probe, name, seed, value, None, None, None) for seed, value in seeds.items()]
        rows.append((f"{words(task)},\n{probe_label(probe)}", marks))
    if not any(mark.value is not None for _, marks in rows for mark in marks):
        return None
    figure, axes = new_figure(1.6 + (0.35 + 0.08 * len(runs)) * len(rows))
    drawn = draw_marks(axes[0, 0], rows)
    measure = "Dice" if segmentation else "balanced accuracy"
    axes[0, 0].set_xlabel(f"{measure}, federated (bar: 95% interval)")
    _run_legend(figure, drawn)
    return Drawing(
        name="segmentation-scores" if segmentation else "probe-scores",
        markup=to_svg(figure, alt=f"{measure} of the federated arm by task and probe in {len(runs)} runs."),
        columns=("task", "probe", "run", "seed", *keys),
        rows=data,
    )


@mpl.rc_context(STYLE)
def cost(runs: Runs) -> Drawing | None:
    """Seconds of training of all arms, and bytes of the federation in both directions."""
    names = list(runs)
    spent = [finite((runs[name].get("timing") or {}).get("seconds")) for name in names]
    volume = [[finite((runs[name].get("bytes") or {}).get(way)) for way in ("up", "down")] for name in names]
    sent = [None if up is None or down is None else up + down for up, down in volume]
    if not any(value is not None for value in [*spent, *sent]):
        return None
    figure, axes = new_figure(0.9 + 0.4 * len(names), columns=2, sharey=True)
    panels = ((axes[0, 0], spent, "training, all arms", seconds), (axes[0, 1], sent, "sent, both ways", size))
    for axis, values, title, show in panels:
        bars = axis.barh(range(len(names)), [value or 0 for value in values], color="#0072b2", height=0.6)
        axis.bar_label(bars, [show(value) for value in values], padding=3)
        axis.set_xlim(0, 1.7 * max((value or 0 for value in values), default=0) or 1)
        axis.set_title(title)
        axis.set_xticks([])
        axis.spines["bottom"].set_visible(False)
        axis.grid(visible=False)
        axis.tick_params(length=0)
    axes[0, 0].set_yticks(range(len(names)), [plain(name) for name in names])
    axes[0, 0].set_ylim(len(names) - 0.4, -0.6)
    return Drawing(
        name="cost",
        markup=to_svg(figure, alt=f"Time of training and bytes sent in {len(names)} runs."),
        columns=("run", "seconds", "bytes_up", "bytes_down"),
        rows=[(name, time, *ways) for name, time, ways in zip(names, spent, volume, strict=True)],
    )


def _arm(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    return metrics["arms"].get(OURS) or {}


def _run_legend(figure: Figure, drawn: Mapping[str, Any]) -> None:
    legend(figure, {plain(name): mark for name, mark in drawn.items()})
