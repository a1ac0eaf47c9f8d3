"""A label-efficiency study from its configuration to its report.

The order is: pretrain or find the encoders, find each task's steps, choose the hospitals, fine-tune every cell, write.
Every stage goes on from what the study's folder holds.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from core import config as configuration
from core.errors import CheckpointError, ConfigError
from core.files import write_text
from core.run_folder import alone_in, check_inputs, clear
from simulations.deadline import Deadline, deadline_in
from simulations.display import Display
from simulations.label_efficiency.bench import STUDY_FILE, Bench, open_bench
from simulations.label_efficiency.cells import Found, Job, adopt_cell, job_of
from simulations.label_efficiency.config import FLOOR, LabelEfficiencyConfig
from simulations.label_efficiency.convergence import Steps, find_steps, trial_jobs
from simulations.label_efficiency.encoders import check_given, make_encoders
from simulations.label_efficiency.outputs import Outcome, command_line, tell, write_outputs
from simulations.label_efficiency.pool import Cells, cells_of
from simulations.label_efficiency.pretraining import check_run, pretrain
from simulations.label_efficiency.selection import Chosen, choose_hospitals
from simulations.run_folder import check_folder

_PROCESSES = re.compile(r"^processes: \d+$", re.MULTILINE)


def run_study(
    *,
    path: Path,
    overrides: Sequence[str],
    quick: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    console: Console,
    minutes: float | None = None,
) -> Path:
    """Run a study and write every output; returns its folder.

    Args:
        path: The study's YAML file.
        overrides: key=value, dotted keys.
        quick: Whether the file's `quick` overrides come before these.
        resume: Go on with a study that was stopped.
        overwrite: Remove the study of this name first.
        console: Where progress and results are told.
        minutes: Stop after so many at a saved state.

    Raises:
        UsfmError: Whatever is wrong with configuration, data, encoders, disk or folder; a new folder is made only after
            configuration and data were found good. TimeIsUp once `minutes` have passed.
    """
    deadline = deadline_in(minutes)
    config, text = _load(path, overrides, quick=quick)
    torch.set_num_threads(config.threads)
    folder = Path(config.runs) / config.name
    text = _as_begun(text, folder / STUDY_FILE) if resume else text
    check_folder(folder, text, resume=resume, overwrite=overwrite, reinstate=False)
    with Display(console) as display:
        bench = open_bench(config, text, folder=folder, progress=display.preparing)
        check_run(bench)
        check_given(bench)
    with alone_in(folder):
        if overwrite:
            clear(folder)
        _begin(bench)
        run = pretrain(bench, console=console, deadline=deadline)
        digests = make_encoders(bench, run)
        with Display(console) as display:
            outcome = _compute(bench, digests, run=run, display=display, deadline=deadline)
            display.say("writing the report")
            analysis = write_outputs(bench, outcome, command=command_line(path, overrides, quick=quick))
    tell(console, analysis, folder=folder)
    return folder


def _load(path: Path, overrides: Sequence[str], *, quick: bool) -> tuple[LabelEfficiencyConfig, str]:
    config, text = configuration.load(LabelEfficiencyConfig, path=path, overrides=overrides)
    if not quick:
        return config, text
    if not config.quick:
        raise ConfigError(f"{path}: has no quick regime; give the key quick, a list of key=value")
    return configuration.load(LabelEfficiencyConfig, path=path, overrides=[*config.quick, *overrides])


def _as_begun(text: str, saved: Path) -> str:
    """The resolved text with the saved number of processes: cells do not depend on it, so another may go on."""
    kept = _PROCESSES.search(saved.read_text()) if saved.exists() else None
    return _PROCESSES.sub(kept[0], text) if kept else text


def _begin(bench: Bench) -> None:
    """Keep all that the study is made of, or find it as it was."""
    for name, text in bench.texts.items():
        kept = bench.folder / name
        if kept.exists() and kept.read_text() != text:
            raise CheckpointError(f"{kept} differs from what is given now; start a new study under another name=NAME")
        if not kept.exists():
            write_text(kept, text)
    check_inputs(bench.folder / "inputs.json", {"data": bench.digest})


def _compute(
    bench: Bench, digests: Mapping[str, str], *, run: Path | None, display: Display, deadline: Deadline
) -> Outcome:
    """Every cell, from its file or computed now."""
    with cells_of(bench.folder, processes=bench.config.processes, display=display, deadline=deadline) as cells:
        steps = find_steps(bench, digests, lambda jobs: cells.run(jobs, what="steps until converged"))
        for task, found in steps.items():
            display.say(f"{task}: {found.steps} steps, {found.state}")
        _adopt(bench, digests, steps)
        chosen = choose_hospitals(bench, digests, steps, lambda jobs: cells.run(jobs, what="choosing hospitals"))
        jobs = list(grid_jobs(bench, digests, steps, chosen))
        found_of = _run_once(cells, [job for _, job in jobs])
    return Outcome(
        placed=[(replace(found_of[job.path].cell, arm=arm), job.path) for arm, job in jobs],
        digests=digests,
        steps=steps,
        chosen=chosen,
        run=run,
    )


def grid_jobs(
    bench: Bench, digests: Mapping[str, str], steps: Mapping[str, Steps], chosen: Mapping[str, Chosen]
) -> list[tuple[str, Job]]:
    """Every cell of the grid with the arm that it stands for, the first draw of all first."""
    return [
        (arm, job_of(bench, digests, task=task, arm=chosen[task].arm(arm) if chosen else arm, budget=budget, draw=draw,
                     steps=steps[task].steps))
        for draw in range(bench.config.draws)
        for task in bench.tasks
        for budget in bench.config.budgets_of(task)
        for arm in bench.config.all_arms
    ]  # fmt: skip


def _run_once(cells: Cells, jobs: Sequence[Job]) -> dict[Path, Found]:
    """Each file's cell; two arms that are one hospital share it."""
    unique = {job.path: job for job in jobs}
    return dict(zip(unique, cells.run([*unique.values()], what="cells"), strict=True))


def _adopt(bench: Bench, digests: Mapping[str, str], steps: Mapping[str, Steps]) -> None:
    """Cells that were made to find the steps are cells of the grid too, where they took the steps that were found."""
    for task, found in steps.items():
        for trial in trial_jobs(bench, digests, task, steps=found.steps):
            job = job_of(bench, digests, task=task, arm=FLOOR, budget=trial.budget, draw=trial.draw, steps=found.steps)
            adopt_cell(job, trial)
