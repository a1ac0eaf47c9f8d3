"""What a study leaves: `metrics.json`, `report.html` with its figures' data, `results.md`, and the terminal's tables.

`metrics.json` is `Analysis.document` with what the study adds: encoders, steps, hospitals, versions, cost.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any

import torch
from rich.console import Console

from core import __version__
from core.evaluation.formats import seconds, words
from core.evaluation.label_efficiency.analysis import Analysis, analyse
from core.evaluation.label_efficiency.cells import cost_of
from core.evaluation.label_efficiency.report import StudyReport, write_report
from core.evaluation.label_efficiency.results import results_page, terminal_tables
from core.evaluation.metrics.score import PRIMARY
from core.files import write_json, write_text
from simulations.label_efficiency import STUDY
from simulations.label_efficiency.bench import STUDY_FILE, Bench
from simulations.label_efficiency.convergence import Steps
from simulations.label_efficiency.predictions import Placed, examples_of
from simulations.label_efficiency.selection import Chosen
from simulations.saved_run import read_run

METRICS = {"dice": "Dice", "balanced_accuracy": "balanced accuracy", "psnr": "PSNR in dB"}
"""Primary metrics in words."""
PAGE = "docs/results/label_efficiency.md"
"""Where the tables of the project's own study are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A study whose every cell is there."""

    placed: Sequence[Placed]
    """Every cell of the grid, by the study's arms, with its file."""
    digests: Mapping[str, str]
    """Encoder to SHA-256."""
    steps: Mapping[str, Steps]
    """Task to its optimizer steps."""
    chosen: Mapping[str, Chosen]
    """Task to its hospitals; empty where no arm is one."""
    run: Path | None
    """Of the pretraining."""


def analysis_of(bench: Bench, outcome: Outcome) -> Analysis:
    """What the cells say together."""
    config = bench.config
    return analyse(
        [cell for cell, _ in outcome.placed],
        arms=config.all_arms,
        core_tasks=[name for name, task in config.chosen.items() if task.core],
        tasks={name: METRICS[PRIMARY[task.kind]] for name, task in bench.tasks.items()},
        budgets=config.budgets,
        draws=config.draws,
        seed=bench.seed("bootstrap"),
        bootstrap=config.evaluation.bootstrap,
    )


def write_outputs(bench: Bench, outcome: Outcome, *, command: str) -> Analysis:
    """Write every file of the study; `command` is the line that repeats it."""
    analysis, folder = analysis_of(bench, outcome), bench.folder
    told = _facts(bench, outcome)
    report = StudyReport(
        analysis=analysis,
        name=bench.config.name,
        examples=examples_of(bench, outcome.placed),
        facts=told,
        commands=[command],
        config_text=(folder / STUDY_FILE).read_text(),
    )
    write_report(folder / "report.html", report)
    copy = f"cp runs/{bench.config.name}/results.md {PAGE}"
    page = results_page(
        analysis, name=bench.config.name, commands=[command, copy], versions=_versions(bench), facts=told
    )
    write_text(folder / "results.md", page)
    write_json(folder / "metrics.json", _metrics(bench, outcome, analysis))  # last: a study that has it has ended
    return analysis


def tell(console: Console, analysis: Analysis, *, folder: Path) -> None:
    """What a person reads last."""
    console.print(terminal_tables(analysis))
    for name in ("report.html", "results.md", "metrics.json"):
        console.print(str(folder / name), highlight=False, markup=False, soft_wrap=True)


def command_line(path: Path, overrides: Sequence[str], *, quick: bool) -> str:
    """The command that repeats a study, without the folders of this machine."""
    shipped = Path(str(files("configs"))).resolve()
    name = path.resolve()
    shown = PurePath("configs", name.relative_to(shipped)) if name.is_relative_to(shipped) else PurePath(path.name)
    words_ = [_shown(word) for word in overrides if not word.startswith(("runs=", "data.cache="))]
    options = ["--quick"] if quick else []
    return shlex.join(["python", "simulations/run.py", "--config", str(shown), *options, *words_])


def _shown(override: str) -> str:
    key, _, value = override.partition("=")
    place = key in ("data.manifest", "pretraining.run") or key.startswith("public.")
    return f"{key}=PATH/{PurePath(value).name}" if place and "/" in value else override


def _metrics(bench: Bench, outcome: Outcome, analysis: Analysis) -> dict[str, Any]:
    return {
        **analysis.document(),
        "study": STUDY,
        "name": bench.config.name,
        "code_version": __version__,
        "environment": _versions(bench),
        "data": bench.digest,
        "encoders": dict(outcome.digests),
        "steps": {task: found.document() for task, found in outcome.steps.items()},
        "hospitals": {task: found.document() for task, found in outcome.chosen.items()},
        "cost": {arm: _cost(analysis, arm) for arm in bench.config.all_arms},
        "pretraining_seconds": _pretraining_seconds(outcome),
    }


def _cost(analysis: Analysis, arm: str) -> dict[str, float | int]:
    """Of fine-tuning and scoring; two arms that are one hospital both count its cells."""
    spent = cost_of([cell for cell in analysis.cells if cell.arm == arm])
    return {"cells": spent.cells, "minutes": spent.seconds / 60, "images": spent.images, "steps": spent.steps}


def _pretraining_seconds(outcome: Outcome) -> float | None:
    """Training time of all pretraining arms and seeds, summed; None without a pretraining."""
    if outcome.run is None:
        return None
    value = read_run(outcome.run).metrics.get("timing", {}).get("seconds")
    return None if value is None else float(value)


def _versions(bench: Bench) -> dict[str, str]:
    return {"usfm": __version__, "torch": torch.__version__, "threads": str(bench.config.threads)}


def _facts(bench: Bench, outcome: Outcome) -> list[tuple[str, str]]:
    """What a reader should know beside the numbers."""
    spent = _pretraining_seconds(outcome)
    told = [("pretraining", f"{seconds(spent)} for all arms and seeds")] if spent is not None else []
    told += [("fine-tuning processes", str(bench.config.processes))]
    for task, found in outcome.steps.items():
        told.append((f"steps, {words(task)}", _steps_told(found)))
    for task, chosen in outcome.chosen.items():
        told.append((f"hospital, {words(task)}", f"median {chosen.median}, best {chosen.best}"))
    return told


def _steps_told(found: Steps) -> str:
    tried = ", ".join(
        f"{one.steps}: {one.score.value:.3f} ({one.score.low:.3f} to {one.score.high:.3f})"
        for one in found.tried
        if one.score is not None
    )
    return f"{found.steps}, {found.state}" + (f"; validation score of random weights at {tried}" if tried else "")
