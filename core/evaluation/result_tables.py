"""A run's results as tables of plain text, the same for a page of HTML and one of Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from core.evaluation.arms import arm_label, main_first
from core.evaluation.formats import NONE, count, difference, loss, seconds, share, with_interval, words
from core.evaluation.scores import organs_of, probe_label, probes_of, score_of, seeds_of

Metrics = Mapping[str, Any]


class Table(NamedTuple):
    """Heads and rows of text; the first cell heads its row."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = ()
    """Columns of text, not of numbers."""


def losses(metrics: Metrics) -> Table:
    """Held-out loss of the main arms: a row an organ, the rarest first, then all; and what federation changes."""
    arms, _ = main_first(metrics["arms"])
    found = metrics.get("comparisons") or {}
    tested = {name.split(":")[0] for name in found if ":" in name}
    against = [arm for arm in ("fedavg", "best_hospital") if f"federated_minus_{arm}" in tested]
    head = ["organ", *map(arm_label, arms), *(comparison_label(f"federated_minus_{arm}") for arm in against)]
    rows = []
    for organ in [*organs_of(metrics), "overall"]:
        values = [loss(metrics["arms"][arm].get("held_out_loss", {}).get(organ)) for arm in arms]
        suffix = "" if organ == "overall" else f":{organ}"
        differences = [with_interval(found.get(f"federated_minus_{arm}{suffix}"), difference) for arm in against]
        rows.append(["all" if organ == "overall" else words(organ), *values, *differences])
    return Table(head, rows if arms else [])


def by_seed(metrics: Metrics) -> Table:
    """A row a training seed: the main arms' held-out loss and the closed gap; no row with a single seed."""
    arms, _ = main_first(metrics["arms"])
    rows = []
    for seed, entry in seeds_of(metrics).items():
        scored = entry.get("arms", {})
        values = [loss((scored.get(arm) or {}).get("held_out_loss", {}).get("overall")) for arm in arms]
        gaps = [with_interval(entry.get(key), share) for key in ("gap_closed", "gap_closed_fedavg")]
        rows.append([seed, *values, *gaps])
    return Table(["seed", *map(arm_label, arms), "gap closed", "gap closed by FedAvg"], rows)


def scores(metrics: Metrics, *, segmentation: bool) -> Table:
    """A row a main arm: Dice, or balanced accuracy, of every task and probe, with its interval."""
    pairs = probes_of(metrics, segmentation=segmentation)
    arms, _ = main_first(metrics["arms"])
    rows = [
        [arm_label(arm), *(with_interval(score_of(metrics["arms"][arm], *pair), share, key="mean") for pair in pairs)]
        for arm in arms
    ]
    return Table(["arm", *(f"{words(task)}, {probe_label(probe)}" for task, probe in pairs)], rows if pairs else [])


def gaps(metrics: Metrics) -> Table:
    """Gap closed and gain kept, of the federation and of FedAvg; a reason stands where there is no number."""
    rows = []
    for key, what in (("gap_closed", "gap in held-out loss closed"), ("gain_kept", "gain on tasks kept")):
        for suffix, arm in (("", "federated"), ("_fedavg", "fedavg")):
            found = metrics.get(key + suffix)
            if found is not None:
                rows.append([f"{what}, {arm_label(arm)}", with_interval(found, share), found.get("reason") or NONE])
    return Table(["measure", "value (95% interval)", "note"], rows, words=(2,))


def comparisons(metrics: Metrics) -> Table:
    """Every difference that the run tests, with its interval, unit and meaning."""
    rows = [
        [comparison_label(name), with_interval(found, difference), found.get("unit") or NONE,
         found.get("meaning") or found.get("reason") or NONE]
        for name, found in (metrics.get("comparisons") or {}).items()
    ]  # fmt: skip
    return Table(["difference", "value (95% interval)", "unit", "meaning"], rows, words=(2, 3))


def comparison_label(name: str) -> str:
    """`federated_minus_fedavg:fetal_head` in words."""
    what, _, organ = name.partition(":")
    left, _, right = what.partition("_minus_")
    label = f"{words(left)} − {words(arm_label(right))}" if right else words(what)
    return f"{label}, {words(organ)}" if organ else label


def cost(metrics: Metrics) -> Table:
    """A row an arm: images drawn, time of training."""
    main, rest = main_first(metrics["arms"])
    rows = []
    for arm in [*main, *rest]:
        entry = metrics["arms"][arm]
        rows.append([arm_label(arm), count(entry.get("images")), seconds(entry.get("seconds"))])
    return Table(["arm", "images drawn", "time of training"], rows)
