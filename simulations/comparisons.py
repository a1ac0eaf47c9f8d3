"""What one arm is beside another, with intervals over patients and training seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from core.evaluation.arms import LOCAL, arm_label
from core.evaluation.formats import words
from core.evaluation.gain import ByTask, gain_kept
from core.evaluation.intervals import Gap, difference, gap_closed_over_seeds
from simulations.arms import Bench
from simulations.merge import Merged


def compared(merged: Merged, bench: Bench) -> dict[str, Any]:
    """The fields of `metrics.json` that compare arms."""
    return {
        "gap_closed": _gap(merged, "federated", bench),
        "gap_closed_fedavg": _gap(merged, "fedavg", bench),
        "gain_kept": _gain(merged, "federated", bench),
        "gain_kept_fedavg": _gain(merged, "fedavg", bench),
        "comparisons": _differences(merged, bench),
    }


def by_seed(merged: Merged, bench: Bench) -> dict[str, dict[str, Any]]:
    """`metrics.json`'s `by_seed`: each training seed's arms, and its gap with an interval over patients."""
    documents = merged.by_seed()
    return {
        str(seed): {
            **documents[str(seed)],
            "gap_closed": _gap(one, "federated", bench),
            "gap_closed_fedavg": _gap(one, "fedavg", bench),
        }
        for seed, one in merged.each()
    }


def _gap(merged: Merged, arm: str, bench: Bench) -> dict[str, Any]:
    if not merged.hospitals or merged.reference is None or arm not in merged.names:
        return asdict(Gap(value=None, low=None, high=None, reason="an arm of the comparison was not run"))
    gap = gap_closed_over_seeds(
        merged.local_losses(),
        merged.losses(arm),
        merged.losses("centralized"),
        mix=bench.plan.mix,
        seed=bench.config.seed,
        draws=bench.config.evaluation.bootstrap,
    )
    return asdict(gap)


def _gain(merged: Merged, arm: str, bench: Bench) -> dict[str, Any]:
    """`gain_kept` over every task's probes; the tasks are those of the configuration, written before the run."""
    tasks = _tasks(merged)
    missing = Gap(value=None, low=None, high=None, reason="an arm of the comparison was not run")
    if not tasks or not all(merged.of(name) for name in (arm, "centralized", "random_init")):
        return {**asdict(missing), "tasks": tasks}
    if bench.start is not None:
        reason = "the arms start from a trained model, so a gain over random weights is not the federation's alone"
        return {**asdict(Gap(value=None, low=None, high=None, reason=reason)), "tasks": tasks}
    gap = gain_kept(
        _by_task(merged, arm, tasks),
        _by_task(merged, "centralized", tasks),
        _by_task(merged, "random_init", tasks),
        tasks=tasks,
        seed=bench.config.seed,
        draws=bench.config.evaluation.bootstrap,
    )
    return {**asdict(gap), "tasks": tasks}


def _tasks(merged: Merged) -> list[str]:
    """`task/probe` of every score by patient, but for nearest neighbours, which repeat the linear probe's question."""
    _, scored = merged.of(merged.names[0])[0]
    return [
        f"{task}/{probe}" for task, probes in sorted(scored.tasks.items()) for probe in sorted(probes) if probe != "knn"
    ]


def _by_task(merged: Merged, arm: str, tasks: Sequence[str]) -> ByTask:
    split = [name.rpartition("/") for name in tasks]
    return {
        f"{task}/{probe}": [scored.tasks[task][probe].get("by_patient") or {} for _, scored in merged.of(arm)]
        for task, _, probe in split
    }


def _differences(merged: Merged, bench: Bench) -> dict[str, dict[str, Any]]:
    """Held-out loss of the federated arm minus another's: FedAvg by organ, every hospital alone, the pooled arm."""
    if "federated" not in merged.names:
        return {}
    mixes: dict[str, Mapping[str, float]] = {"all": bench.plan.mix}
    mixes |= {organ: {organ: 1.0} for organ in bench.plan.mix}
    held = {organ for organ, _ in merged.losses("federated")[0].values()}
    pairs = [("fedavg", organ) for organ in mixes if organ == "all" or organ in held]
    pairs += [(name, "all") for name in ("local_best", *merged.hospitals, "centralized")]
    found = {
        _name(arm, organ): _difference(merged, arm, organ, mixes[organ], bench)
        for arm, organ in pairs
        if merged.of(arm)
    }
    if merged.hospitals:
        nearest = max(merged.hospitals, key=lambda arm: float(found[_name(arm, "all")]["value"]))
        found["federated_minus_nearest_hospital"] = found[_name(nearest, "all")]
    return found


def _name(arm: str, organ: str) -> str:
    """`federated_minus_fedavg:carotid`, `federated_minus_best_hospital`, `federated_minus_local:north`."""
    other = "best_hospital" if arm == "local_best" else arm
    return f"federated_minus_{other}" if organ == "all" else f"federated_minus_{other}:{organ}"


def _difference(merged: Merged, arm: str, organ: str, mix: Mapping[str, float], bench: Bench) -> dict[str, Any]:
    value, low, high = difference(
        merged.losses("federated"),
        merged.losses(arm),
        mix=mix,
        seed=bench.config.seed,
        draws=bench.config.evaluation.bootstrap,
    )
    where = "all organs, by the target mix" if organ == "all" else words(organ)
    other = f"{arm.removeprefix(LOCAL)} alone" if arm.startswith(LOCAL) else arm_label(arm)
    meaning = f"held-out loss of the federated arm minus that of {other}, {where}; below 0 the federated one is better"
    return {"value": value, "low": low, "high": high, "reason": "", "unit": "loss", "meaning": meaning}
