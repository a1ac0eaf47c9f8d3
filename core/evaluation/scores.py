"""What stands where in a run's metrics: organs, probes by kind, and the arms of one training seed."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

CLASSIFICATION = {"linear": "linear", "knn": "k-NN"}
"""Probes of the frozen encoder by balanced accuracy, and what a table calls them."""
FROZEN = "frozen"
"""Dice of a linear map from the frozen encoder's tokens."""
FINE_TUNED = "finetune_"
"""Dice after fine-tuning; the number of labelled patients follows."""

Metrics = Mapping[str, Any]


def labelled(probe: str) -> int | None:
    """Labelled patients of a few-label probe; None for any other probe."""
    number = probe.removeprefix(FINE_TUNED)
    return int(number) if number != probe and number.isascii() and number.isdigit() else None


def is_segmentation(probe: str) -> bool:
    """Whether the probe's scores are Dice, not balanced accuracy."""
    return probe == FROZEN or labelled(probe) is not None


def probe_label(probe: str) -> str:
    """A few words for a table's head."""
    budget = labelled(probe)
    if budget is not None:
        return f"fine-tuned, {budget} patients"
    return "frozen, linear map" if probe == FROZEN else CLASSIFICATION.get(probe, probe)


def organs_of(metrics: Metrics) -> list[str]:
    """Organs with a held-out loss in any arm: the rarest first where the run says which is, then by name."""
    found = {o for arm in metrics["arms"].values() for o in arm.get("held_out_loss", {})} - {"overall"}
    first = [organ for organ in dict.fromkeys(metrics.get("rarest") or []) if organ in found]
    return first + sorted(found.difference(first))


def probes_of(metrics: Metrics, *, segmentation: bool | None = None) -> list[tuple[str, str]]:
    """(task, probe) of any arm: tasks by name, probes in their order; of one kind where `segmentation` says which."""
    return probes_in(metrics["arms"].values(), segmentation=segmentation)


def probes_in(arms: Iterable[Metrics], *, segmentation: bool | None = None) -> list[tuple[str, str]]:
    """As `probes_of`, of some arms."""
    tasks = [arm.get("tasks", {}) for arm in arms]
    found = {(task, probe) for arm in tasks for task, probes in arm.items() for probe in probes}
    if segmentation is not None:
        found = {pair for pair in found if is_segmentation(pair[1]) == segmentation}
    return sorted(found, key=lambda pair: (pair[0], _rank(pair[1]), pair[1]))


def _rank(probe: str) -> tuple[int, int]:
    if probe in CLASSIFICATION:
        return 0, list(CLASSIFICATION).index(probe)
    return (2, labelled(probe) or 0) if is_segmentation(probe) else (1, 0)


def score_of(arm: Metrics, task: str, probe: str) -> Mapping[str, Any]:
    """Mean, low, high, reason; empty where the arm has no such score."""
    return (arm.get("tasks", {}).get(task) or {}).get(probe) or {}


def seeds_of(metrics: Metrics) -> dict[str, Mapping[str, Any]]:
    """Training seed to what was measured with it alone; empty where the run has one seed."""
    seeds = metrics.get("by_seed") or {}
    return dict(seeds) if len(seeds) > 1 else {}


def seed_arms(metrics: Metrics, arm: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(seed, that arm's numbers) of every seed that has the arm."""
    for seed, entry in seeds_of(metrics).items():
        if arm in entry.get("arms", {}):
            yield seed, entry["arms"][arm]
