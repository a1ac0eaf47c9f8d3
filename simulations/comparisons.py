"""What one arm is beside another, with intervals over patients and training seeds."""

from dataclasses import asdict
from typing import Any

from core.evaluation.intervals import Gap, gap_closed
from simulations.arms import Bench
from simulations.merge import Merged


def compared(merged: Merged, bench: Bench) -> dict[str, Any]:
    """The fields of `metrics.json` that compare arms."""
    return {"gap_closed": _gap(merged, "federated", bench), "gap_closed_fedavg": _gap(merged, "fedavg", bench)}


def _gap(merged: Merged, arm: str, bench: Bench) -> dict[str, Any]:
    if not merged.hospitals or merged.reference is None or arm not in merged.names:
        return asdict(Gap(value=None, low=None, high=None, reason="an arm of the comparison was not run"))
    gap = gap_closed(
        merged.local_losses()[0],
        merged.losses(arm)[0],
        merged.losses("centralized")[0],
        mix=bench.plan.mix,
        seed=bench.config.seed,
        draws=bench.config.evaluation.bootstrap,
    )
    return asdict(gap)
