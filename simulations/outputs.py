"""What a run leaves: `metrics.json`, `receipts.jsonl`, `encoder.safetensors` with its model card, `report.html`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core import __version__
from core.evaluation.arms import LOCAL
from core.evaluation.intervals import Gap, gap_closed, organ_balanced
from core.evaluation.pictures import Example
from core.evaluation.report import ReportData, write_report
from core.federation.tensors import digest_of
from core.files import save_tensors, write_json, write_text
from server.state import Store
from simulations.arms import Bench
from simulations.model_card import model_card
from simulations.partition import left_out
from simulations.results import Scored, Trained

SCHEMA_VERSION = 1
Results = Mapping[str, tuple[Trained, Scored]]
"""Arms that were trained, by name; a hospital alone is `local:<hospital>`."""


def metrics_of(bench: Bench, results: Results, *, server: Store) -> dict[str, Any]:
    """The content of `metrics.json`; `docs/metrics.md` says what each field means."""
    mix = bench.plan.mix
    arms = {name: _arm(trained, scored, mix) for name, (trained, scored) in results.items()}
    local = [name for name in results if name.startswith(LOCAL)]
    if local:
        best = min(local, key=lambda name: organ_balanced(results[name][1].validation, mix))
        arms["local_best"] = {**arms[best], "role": f"chosen on validation patients: {best.removeprefix(LOCAL)}"}
        arms["local_mean"] = _mean_arm([arms[name] for name in local])
    reference = _reference(results, mix)
    if reference:
        arms["centralized"] = {**arms[reference], "role": f"the stronger pooled arm: {reference}"}
    federated = results["federated"][0]
    state = server.load(plan_digest=bench.plan.digest)
    assert state is not None
    return {
        "schema_version": SCHEMA_VERSION,
        "name": bench.config.name,
        "code_version": __version__,
        "arms": arms,
        "reference": reference,
        "gap_closed": _gap(results, local, "federated", reference, bench),
        "gap_closed_fedavg": _gap(results, local, "fedavg", reference, bench),
        "mix": mix,
        "rounds": bench.config.federation.rounds,
        "complete": all(len(line["contributors"]) == len(bench.plan.weights) for line in server.receipts()),
        "timing": {
            "seconds": sum(trained.seconds for trained, _ in results.values()),
            "images_per_second": federated.images / max(1e-9, federated.seconds),
        },
        "bytes": {"up": state.bytes_up, "down": state.bytes_down},
        "final_hash": state.digest,
        "plan": bench.plan.digest,
        "licences": _licences(bench),
        "limits": _limits(bench),
    }


def write_outputs(
    folder: Path, bench: Bench, results: Results, *, server: Store, examples: Sequence[Example], config_text: str
) -> dict[str, Any]:
    """Write every file of the run and return the metrics."""
    metrics = metrics_of(bench, results, server=server)
    write_json(folder / "metrics.json", metrics)
    receipts = server.receipts_path.read_text()
    write_text(folder / "receipts.jsonl", receipts)
    encoder = {
        name.removeprefix("encoder."): value
        for name, value in results["federated"][0].model.items()
        if name.startswith("encoder.")
    }
    meta = {"schema_version": SCHEMA_VERSION, "encoder": asdict(bench.config.encoder), "sha256": digest_of(encoder)}
    save_tensors(folder / "encoder.safetensors", encoder, meta=meta)
    write_text(folder / "encoder.md", model_card(bench, metrics, encoder_hash=digest_of(encoder)))
    curves = {name: [(float(n), loss) for n, loss in trained.curve] for name, (trained, _) in results.items()}
    report = ReportData(
        metrics=metrics,
        case_mix=bench.prepared.case_mix,
        curves={name: curve for name, curve in curves.items() if curve},
        held_out_curve={},
        examples=examples,
        receipts=server.receipts(),
        config_text=config_text,
    )
    write_report(folder / "report.html", report)
    return metrics


def _arm(trained: Trained, scored: Scored, mix: Mapping[str, float]) -> dict[str, Any]:
    organs = sorted({organ for organ, _ in scored.test.values()})
    by_organ = {o: float(np.mean([loss for at, loss in scored.test.values() if at == o])) for o in organs}
    return {
        "held_out_loss": {"overall": organ_balanced(scored.test, mix), **by_organ},
        "tasks": _without_patients(scored.tasks),
        "images": trained.images,
        "seconds": trained.seconds,
    }


def _without_patients(tasks: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """The scores without `by_patient`: patients are named in the arm's own folder only."""
    return {
        task: {probe: {key: value for key, value in score.items() if key != "by_patient"}
               for probe, score in probes.items()}
        for task, probes in tasks.items()
    }  # fmt: skip


def _mean_arm(arms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the hospitals; a probe's mean has no interval, since it is no single model's score."""
    keys = arms[0]["held_out_loss"]
    tasks: dict[str, dict[str, dict[str, Any]]] = {}
    for task, probes in arms[0]["tasks"].items():
        tasks[task] = {}
        for probe in probes:
            means = [arm["tasks"][task][probe]["mean"] for arm in arms]
            known = all(mean is not None for mean in means)
            value = float(np.mean(means)) if known else None
            tasks[task][probe] = {"mean": value, "low": None, "high": None, "reason": "mean over the hospitals' models"}
    return {
        "held_out_loss": {key: float(np.mean([arm["held_out_loss"][key] for arm in arms])) for key in keys},
        "tasks": tasks,
        "images": int(np.mean([arm["images"] for arm in arms])),
        "seconds": float(np.mean([arm["seconds"] for arm in arms])),
        "role": f"mean over {len(arms)} hospitals, each trained alone",
    }


def _reference(results: Results, mix: Mapping[str, float]) -> str | None:
    """The pooled arm with the lower loss on validation patients."""
    pooled = [name for name in ("centralized_wide", "centralized_long") if name in results]
    return min(pooled, key=lambda name: organ_balanced(results[name][1].validation, mix)) if pooled else None


def _gap(results: Results, local: list[str], arm: str, reference: str | None, bench: Bench) -> dict[str, Any]:
    if not local or reference is None or arm not in results:
        return asdict(Gap(value=None, low=None, high=None, reason="an arm of the comparison was not run"))
    gap = gap_closed(
        [results[name][1].test for name in local],
        results[arm][1].test,
        results[reference][1].test,
        mix=bench.plan.mix,
        seed=bench.config.seed,
        draws=bench.config.evaluation.bootstrap,
    )
    return asdict(gap)


def _licences(bench: Bench) -> dict[str, int]:
    """Images of the training patients by licence."""
    records = bench.prepared.manifest.records
    return dict(sorted(Counter(records[row].licence or "not stated" for row in bench.prepared.rows("train")).items()))


def _limits(bench: Bench) -> list[str]:
    """What a reader should know before quoting a number of this run."""
    records = bench.prepared.manifest.records
    patients: dict[str, set[str]] = {}
    for row in bench.prepared.rows("test"):
        patients.setdefault(records[row].organ, set()).add(records[row].patient)
    few = [f"{organ} ({len(held)})" for organ, held in sorted(patients.items()) if len(held) < 10]
    found = [
        "One seed: the interval is over patients, not over trainings.",
        "A hospital alone is scored on every organ, also on those it never held: that is part of the gap.",
        "The pooled arms use the hospitals' learning rate, whatever their batch.",
    ]
    prepared = bench.prepared
    nobody = left_out(prepared.hospitals, prepared.manifest.select(lambda r: prepared.splits[r.patient] == "train"))
    if nobody:
        listed = ", ".join(f"{organ} ({patients} patients)" for organ, patients in sorted(nobody.items()))
        found.append(f"Given to no hospital by the partition: {listed}.")
    if few:
        found.append(f"Fewer than ten held-out patients: {', '.join(few)}; read these organs as descriptive.")
    missing = sorted(set(bench.plan.mix) - set(patients))
    if missing:
        found.append(f"No held-out patient: {', '.join(missing)}.")
    if bench.plan.unused:
        left = ", ".join(f"{organ} ({n})" for organ, n in bench.plan.unused.items())
        found.append(f"Below the floor of patients and not used: {left}.")
    if bench.config.data.manifest == "phantom":
        found.append(
            "The images are a phantom: physics and anatomy are simplified, the numbers say nothing about patients."
        )
    return found
