"""One run: every arm is fine-tuned and scored with every training seed and kept, then every output is written."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from core import config as configuration
from core.errors import ConfigError
from core.files import save_tensors, write_text
from core.run_folder import alone_in, check_inputs, clear
from server.task_study import TaskPlan
from simulations.deadline import deadline_in
from simulations.display import Display
from simulations.federated_finetune.arms import START_FILE, TaskBench, plan_of
from simulations.federated_finetune.config import FederatedFinetuneConfig
from simulations.federated_finetune.data import task_data, write_hospitals
from simulations.federated_finetune.outputs import terminal_table, verdict, write_outputs
from simulations.federated_finetune.start import Start, start_of
from simulations.run_folder import check_folder


def simulate(
    *,
    path: Path | None,
    overrides: list[str],
    resume: bool,
    overwrite: bool,
    console: Console,
    reinstate: tuple[str, ...] = (),
    minutes: float | None = None,
) -> Path:
    """Run every arm and write every output; returns the run's folder.

    Raises:
        UsfmError: Whatever is wrong with configuration, data, disk or folder. TimeIsUp once `minutes` have passed.
    """
    config, text = configuration.load(FederatedFinetuneConfig, path=path, overrides=overrides)
    torch.set_num_threads(config.threads)
    folder = Path(config.runs) / config.name
    check_folder(folder, text, resume=resume, overwrite=overwrite, reinstate=bool(reinstate))
    with Display(console, logs=folder / "tensorboard") as display:
        data = task_data(config, progress=display.preparing)
        if strangers := sorted(set(reinstate) - set(data.prepared.hospitals)):
            raise ConfigError(f"--reinstate {', '.join(strangers)}: hospitals: {', '.join(data.prepared.hospitals)}")
        start = start_of(config, held_out=data.held_out)
        plans = {seed: plan_of(config, data, seed=seed, start=start.encoder) for seed in config.seeds}
        first = TaskBench(
            config=config,
            data=data,
            planned=plans[config.seeds[0]],
            display=display,
            folder=folder,
            given=start.encoder is not None,
            reinstate=reinstate,
            deadline=deadline_in(minutes),
        )
        with alone_in(folder):
            if overwrite:
                clear(folder)
            _begin(first, plans, text=text, start=start)
            benches = [replace(first, planned=planned) for planned in plans.values()]
            results = {bench.seed: {name: bench.run(name) for name in bench.names()} for bench in benches}
            metrics = write_outputs(folder, first, results, source=start.source)
    _tell(console, metrics, folder=folder)
    return folder


def _tell(console: Console, metrics: Mapping[str, Any], *, folder: Path) -> None:
    """What a person reads last."""
    console.print(terminal_table(metrics))
    for line in verdict(metrics, folder=folder):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _begin(bench: TaskBench, plans: Mapping[int, TaskPlan], *, text: str, start: Start) -> None:
    """Write what the arms need, once the folder is ours; what a resumed run must find again is compared."""
    folder, data = bench.folder, bench.data
    write_text(folder / "config.yaml", text)
    digests = {f"plan of seed {seed}": planned.plan.digest for seed, planned in plans.items()}
    check_inputs(folder / "inputs.json", {**digests, "data": data.prepared.digest})
    write_hospitals(data, without_labels=bench.config.without_labels, folder=folder / "sites")
    if start.encoder is not None:
        save_tensors(folder / START_FILE, start.encoder, meta={"schema_version": 1})
