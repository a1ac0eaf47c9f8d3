"""How the arms of an experiment are named, ordered and called in tables and figures."""

from collections.abc import Iterable

MAIN_ARMS = ("random_init", "local_mean", "local_best", "fedavg", "federated", "centralized")
"""What the first table shows, from the floor to the reference."""

LOCAL = "local:"
"""Prefix of a hospital that trained alone; its name follows."""

_LABELS = {
    "random_init": "random weights",
    "local_mean": "one hospital, mean",
    "local_best": "one hospital, best",
    "fedavg": "FedAvg",
    "federated": "federated (ours)",
    "centralized": "pooled (reference)",
    "centralized_wide": "pooled, wide batch",
    "centralized_long": "pooled, more steps",
}

_MEANINGS = {
    "random_init": "the encoder before any training",
    "local_mean": "each hospital trains on its own images; mean over hospitals",
    "local_best": "the hospital that trained alone and did best on validation patients",
    "fedavg": "the baseline federation: weights by number of patients, uniform sampling",
    "federated": "organ-aware weights and sampling; images stay at the hospitals",
    "centralized": "one model on the pooled images; the stronger of the two ways below",
    "centralized_wide": "pooled, as many steps as a hospital takes, the batches of all hospitals together",
    "centralized_long": "pooled, one hospital's batch, as many steps as all hospitals take together",
}


def arm_label(arm: str) -> str:
    """A few words for a table row or a legend."""
    return f"{arm.removeprefix(LOCAL)} alone" if arm.startswith(LOCAL) else _LABELS.get(arm, arm)


def arm_meaning(arm: str, reference: str = "") -> str:
    """What the arm is, in one line; `reference` names the pooled arm that `centralized` repeats."""
    if arm.startswith(LOCAL):
        return "trained on this hospital's images only"
    meaning = _MEANINGS.get(arm, "")
    if arm == "centralized" and reference in _LABELS:
        meaning += f" (here: {_LABELS[reference]})"
    return meaning


def main_first(arms: Iterable[str]) -> tuple[list[str], list[str]]:
    """The arms of the first table in its order, and the rest: known ones first, then by name."""
    names = set(arms)
    order = [*MAIN_ARMS, *_LABELS]
    rest = sorted(names.difference(MAIN_ARMS), key=lambda arm: (order.index(arm) if arm in order else len(order), arm))
    return [arm for arm in MAIN_ARMS if arm in names], rest
