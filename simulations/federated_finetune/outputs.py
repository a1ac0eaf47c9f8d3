"""What a run leaves: `metrics.json`, receipts, `model.safetensors`, a table of Markdown; what a person reads last."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from core import __version__
from core.evaluation.arms import LOCAL, arm_label
from core.evaluation.downstream import truth_of
from core.evaluation.formats import count, difference, share, with_interval
from core.evaluation.intervals import Interval
from core.federation.task_section import section_of
from core.files import write_json, write_text
from core.training.fit import Fitted, save_fitted
from server.state import Store
from simulations.federated_finetune.arms import TaskBench
from simulations.federated_finetune.intervals import dice_difference, mean_dice, mean_hospital
from simulations.federated_finetune.results import TaskScores
from simulations.results import Trained

SCHEMA_VERSION = 1
MEAN = "local_mean"
POOLED = ("centralized_wide", "centralized_long")
Results = dict[int, dict[str, tuple[Trained, TaskScores]]]
"""Arms by training seed."""


def metrics_of(bench: TaskBench, results: Results, *, source: str) -> dict[str, Any]:
    """The content of `metrics.json`; `bench` is the first seed's, `source` says what every arm started from."""
    config, plan = bench.config, bench.planned.plan
    names = list(bench.names())
    scores = {name: [found[name][1] for found in results.values()] for name in names}
    reference = max(POOLED, key=lambda name: float(np.mean([one.validation for one in scores[name]])))
    dice = {name: [one.test for one in scores[name]] for name in names}
    dice[MEAN] = [mean_hospital([found[n][1].test for n in names if n.startswith(LOCAL)]) for found in results.values()]
    options = {"seed": config.seed, "draws": config.bootstrap}
    compared = {"federated_minus_local_mean": MEAN, "federated_minus_centralized": reference}
    store = Store(bench.arms / "federated" / "server")
    state = store.load(plan_digest=plan.digest)
    assert state is not None
    return {
        "schema_version": SCHEMA_VERSION,
        "study": config.study,
        "name": config.name,
        "code_version": __version__,
        "seeds": config.seeds,
        "task": config.task.name,
        "tuned": config.task.tuning.encoder,
        "start": {"source": source, "digest": section_of(plan).start},
        "hospitals": _hospitals(bench),
        "test": _counts(bench),
        "arms": {name: {"dice": _interval(mean_dice(dice[name], **options)), **_arm(name, results)} for name in dice},
        "reference": reference,
        "comparisons": {
            name: _interval(dice_difference(dice["federated"], dice[other], **options))
            for name, other in compared.items()
        },
        "rounds": plan.rounds,
        "local_steps": plan.local_steps,
        "complete": complete(bench),
        "bytes": {"up": state.bytes_up, "down": state.bytes_down},
        "plan": plan.digest,
        "final_hash": state.digest,
        "limits": list(_limits(bench)),
    }


def write_outputs(folder: Path, bench: TaskBench, results: Results, *, source: str) -> dict[str, Any]:
    """Write every file of the run and return the metrics; receipts and model are those of the first seed."""
    metrics = metrics_of(bench, results, source=source)
    trained, scores = results[bench.seed]["federated"]
    fitted = Fitted(
        model=bench.model(trained.model).eval(),
        task=section_of(bench.planned.plan).task,
        threshold=scores.threshold,
        best_step=bench.config.steps,
        validation=scores.validation,
        steps=bench.config.steps,
        images=trained.images,
        seconds=trained.seconds,
        evaluation_seconds=0.0,
        note="the last state of a federation; validation patients chose the threshold alone",
        start=section_of(bench.planned.plan).start,
    )
    save_fitted(folder / "model.safetensors", fitted)
    write_text(folder / "receipts.jsonl", Store(bench.arms / "federated" / "server").receipts_path.read_text())
    write_text(folder / "table.md", "\n".join(markdown(metrics)) + "\n")
    write_json(folder / "metrics.json", metrics)  # last: a run that has it has ended
    return metrics


def complete(bench: TaskBench) -> bool:
    """Whether every hospital with labels contributed to every round, with every training seed."""
    stores = [Store(bench.folder / "arms" / f"seed-{seed}" / "federated" / "server") for seed in bench.config.seeds]
    return all(
        len(line["contributors"]) == len(bench.planned.plan.weights) for store in stores for line in store.receipts()
    )


def _interval(found: Interval) -> dict[str, float]:
    return found._asdict()


def _arm(name: str, results: Results) -> dict[str, Any]:
    """What an arm took and chose, by seed; nothing for the mean hospital, which is no model."""
    if name == MEAN:
        return {}
    found = {str(seed): arms[name] for seed, arms in results.items()}
    return {
        "images": next(iter(found.values()))[0].images,
        "seconds": sum(trained.seconds for trained, _ in found.values()),
        "by_seed": {
            seed: {
                "dice": float(np.mean(list(scores.test.values()))),
                "validation": scores.validation,
                "threshold": scores.threshold,
                "empty_right": scores.empty_right,
                "by_patient": scores.test,
            }
            for seed, (_, scores) in found.items()
        },
    }


def _hospitals(bench: TaskBench) -> dict[str, dict[str, Any]]:
    plan = bench.planned.plan
    without = section_of(plan).without_label
    return {
        site: {
            "patients": len(held),
            "labelled": sum(plan.counts.get(site, {}).values()),
            "weight": plan.weights.get(site),
            "sat_out": without.get(site, ""),
        }
        for site, held in sorted(bench.data.prepared.hospitals.items())
    }


def _counts(bench: TaskBench) -> dict[str, int]:
    truth = truth_of(bench.data.test, side=bench.config.encoder.side)
    filled_N = truth.filled_N
    return {
        "patients": len(set(truth.patients_N[filled_N].tolist())),
        "images": int(filled_N.sum()),
        "empty_images": int((~filled_N).sum()),
        "validation_patients": len(set(bench.data.validation.patients_N.tolist())),
    }


def _limits(bench: TaskBench) -> Iterator[str]:
    seeds = len(bench.config.seeds)
    yield (
        "The threshold of every arm is the best one on the same validation patients, whom the researcher holds; a real "
        "federation has to choose it in another way."
    )
    yield "The pooled arms and the hospitals alone learn at the federation's rates; nothing was tuned for any of them."
    if seeds < 5:
        yield f"{seeds} training seed{'s' * (seeds > 1)}: so few say little about another one."
    if bench.config.data.manifest == "phantom":
        yield "The images are a phantom: the numbers say nothing about patients."


def _rows(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    """Arm and its cells: Dice, threshold by seed, images."""
    alone = [name for name in metrics["arms"] if name.startswith(LOCAL)]
    for name in ["federated", MEAN, *POOLED, *alone]:
        arm = metrics["arms"][name]
        thresholds = ", ".join(share(own["threshold"]) for own in arm.get("by_seed", {}).values())
        yield arm_label(name), [with_interval(arm["dice"], share), thresholds or "–", count(arm.get("images"))]


def markdown(metrics: Mapping[str, Any]) -> Iterator[str]:
    """A small page's tables, line by line."""
    test = metrics["test"]
    yield f"| arm | Dice (95% interval; {test['patients']} unseen patients, {len(metrics['seeds'])} seeds) | images |"
    yield "|---|---|---|"
    for label, (dice, _, images) in _rows(metrics):
        yield f"| {label} | {dice} | {images} |"
    yield ""
    yield "| difference of Dice | value (95% interval) |"
    yield "|---|---|"
    for name, found in metrics["comparisons"].items():
        yield f"| {name.replace('_', ' ')} | {with_interval(found, difference)} |"
    yield ""
    yield "| hospital | training patients | with a label | weight |"
    yield "|---|---|---|---|"
    for site, own in metrics["hospitals"].items():
        weight = share(own["weight"]) if own["weight"] else f"sits out: {own['sat_out']}"
        yield f"| {site} | {own['patients']} | {own['labelled']} | {weight} |"


def terminal_table(metrics: Mapping[str, Any]) -> Group:
    """The arms for a terminal of 80 columns."""
    title = f"\nDice of {metrics['task']} and its 95% interval (higher is better)"
    table = Table("arm", "Dice", "threshold", "images")
    for label, cells in _rows(metrics):
        table.add_row(Text(label), *cells)
    return Group(Text(title, style="italic"), table)


def verdict(metrics: Mapping[str, Any], *, folder: Path) -> Iterator[str]:
    """What a person reads last: the differences, who sat out, and where the files lie."""
    for name, found in metrics["comparisons"].items():
        yield f"{name.replace('_', ' ')}: {with_interval(found, difference)} Dice"
    for site, own in metrics["hospitals"].items():
        if own["sat_out"]:
            yield f"{site} sat out: it {own['sat_out']}"
    yield f"final hash {metrics['final_hash']}"
    yield (
        "finished; every hospital with labels contributed to every round"
        if metrics["complete"]
        else ("finished, but NOT every hospital with labels contributed to every round; receipts.jsonl says which")
    )
    yield f"metrics {folder / 'metrics.json'}"
