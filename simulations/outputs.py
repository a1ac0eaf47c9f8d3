"""What a run leaves: metrics, receipts, the encoder with its model card and once more for timm, and the report."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core import __version__
from core.evaluation.report import ReportData, write_report
from core.federation.tensors import Tensors, digest_of, encoder_part, load_state
from core.files import save_tensors, write_json, write_text
from core.models.encoder import build_encoder
from core.models.export import export_timm
from core.models.normalization import PER_IMAGE
from server.state import Store
from simulations.arms import Bench
from simulations.comparisons import by_seed, compared
from simulations.merge import Merged
from simulations.model_card import model_card
from simulations.partition import left_out
from simulations.results import BySeed
from simulations.score import Scorer

SCHEMA_VERSION = 1


def metrics_of(bench: Bench, merged: Merged) -> dict[str, Any]:
    """The content of `metrics.json`; `docs/metrics.md` says what each field means.

    Args:
        bench: The first seed's; its federation gives hash, bytes and completeness.
        merged: The arms of all seeds.
    """
    store = Store(bench.arms / "federated" / "server")
    state, receipts = store.load(plan_digest=bench.plan.digest), _receipts(bench)
    plan = bench.plan
    return {
        "schema_version": SCHEMA_VERSION,
        "name": bench.config.name,
        "code_version": __version__,
        "seeds": bench.config.training_seeds,
        "scored_on": bench.config.evaluation.on,
        "arms": merged.arms(),
        "by_seed": by_seed(merged, bench),
        "reference": merged.reference,
        **compared(merged, bench),
        "mix": plan.mix,
        "rarest": sorted(plan.mix, key=lambda organ: (plan.totals[organ], organ)),
        "rounds": bench.config.federation.rounds,
        "complete": all(len(line["contributors"]) == len(plan.weights) for line in receipts) if receipts else None,
        "timing": _timing(merged),
        "bytes": {"up": state.bytes_up if state else 0, "down": state.bytes_down if state else 0},
        "final_hash": state.digest if state else None,
        "plan": plan.digest,
        "licences": _licences(bench),
        "limits": _limits(bench),
    }


def write_outputs(folder: Path, bench: Bench, results: BySeed, *, scorer: Scorer, config_text: str) -> dict[str, Any]:
    """Write every file of the run and return the metrics; without a federation there is no encoder and no receipt."""
    merged = Merged(results, mix=bench.plan.mix)
    metrics = metrics_of(bench, merged)
    shown = next(name for name in ("federated", merged.reference, *merged.names) if name in merged.names)
    server = Store(bench.arms / "federated" / "server")
    if shown == "federated":
        write_text(folder / "receipts.jsonl", server.receipts_path.read_text())
        _write_encoder(folder, bench, metrics, model=merged.of("federated")[0][0].model)
    curves = {name: [(float(n), loss) for n, loss in merged.of(name)[0][0].curve] for name in merged.names}
    report = ReportData(
        metrics=metrics,
        case_mix=bench.prepared.case_mix,
        curves={name: curve for name, curve in curves.items() if curve},
        held_out_curve={},
        examples=scorer.examples(merged.of(shown)[0][0].model, arm=shown),
        receipts=server.receipts(),
        config_text=config_text,
    )
    write_report(folder / "report.html", report)
    write_json(folder / "metrics.json", metrics)  # last: a run that has it has ended
    return metrics


def _receipts(bench: Bench) -> list[dict[str, Any]]:
    """The federation's receipts of all training seeds."""
    servers = [bench.folder / "arms" / f"seed-{seed}" / "federated" / "server" for seed in bench.config.training_seeds]
    return [line for server in servers for line in Store(server).receipts()]


def _write_encoder(folder: Path, bench: Bench, metrics: Mapping[str, Any], *, model: Tensors) -> None:
    """The federated encoder of the first seed, its model card, and the encoder as timm opens it."""
    encoder = encoder_part(model)
    meta = {"schema_version": SCHEMA_VERSION, "encoder": asdict(bench.config.encoder), "sha256": digest_of(encoder)}
    save_tensors(folder / "encoder.safetensors", encoder, meta=meta)
    write_text(folder / "encoder.md", model_card(bench, metrics, encoder_hash=digest_of(encoder)))
    module = build_encoder(bench.config.encoder, seed=0)
    load_state(module, encoder)
    export_timm(module, folder / "encoder_timm", meta={"normalization": PER_IMAGE, "released_as": digest_of(encoder)})


def _timing(merged: Merged) -> dict[str, float | None]:
    trained = [arm for found in merged.results.values() for arm, _ in found.values()]
    federated = [arm for arm, _ in merged.of("federated")]
    seconds = sum(arm.seconds for arm in federated)
    speed = sum(arm.images for arm in federated) / max(1e-9, seconds) if federated else None
    return {"seconds": sum(arm.seconds for arm in trained), "images_per_second": speed}


def _licences(bench: Bench) -> dict[str, int]:
    """Images of the training patients by licence."""
    records = bench.prepared.manifest.records
    return dict(sorted(Counter(records[row].licence or "not stated" for row in bench.prepared.rows("train")).items()))


def _limits(bench: Bench) -> list[str]:
    """What a reader should know before quoting a number of this run."""
    records = bench.prepared.manifest.records
    patients: dict[str, set[str]] = {}
    for row in bench.prepared.rows(bench.config.evaluation.on):
        patients.setdefault(records[row].organ, set()).add(records[row].patient)
    few = [f"{organ} ({len(held)})" for organ, held in sorted(patients.items()) if len(held) < 10]
    found = [
        _seeds_told(len(bench.config.training_seeds)),
        "A hospital alone is scored on every organ, also on those it never held: that is part of the gap.",
        "The pooled arms use the hospitals' learning rate, whatever their batch.",
    ]
    if bench.config.evaluation.on == "validation":
        found.append("Scored on the validation patients that also choose: optimistic, for choosing a regime only.")
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


def _seeds_told(seeds: int) -> str:
    if seeds == 1:
        return "One training seed: intervals are over patients, not over trainings."
    return f"{seeds} training seeds: so few say little about another one; the patients held out are the same for all."
