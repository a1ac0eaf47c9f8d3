"""One run: every arm is fine-tuned and scored with every training seed and kept, then every output is written."""

from pathlib import Path

import torch
from rich.console import Console

from core import config as configuration
from core.errors import ConfigError
from core.files import save_tensors, write_text
from simulations.deadline import deadline_in
from simulations.display import Display
from simulations.federated_finetune.arms import START_FILE, TaskBench, plan_of
from simulations.federated_finetune.config import FederatedFinetuneConfig
from simulations.federated_finetune.data import task_data, write_hospitals
from simulations.federated_finetune.outputs import terminal_table, verdict, write_outputs
from simulations.federated_finetune.start import start_of
from simulations.run_folder import alone_in, check_folder, check_inputs, clear


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
    deadline = deadline_in(minutes)
    config, text = configuration.load(FederatedFinetuneConfig, path=path, overrides=overrides)
    torch.set_num_threads(config.threads)
    folder = Path(config.runs) / config.name
    check_folder(folder, text, resume=resume, overwrite=overwrite, reinstate=bool(reinstate))
    with Display(console, logs=folder / "tensorboard") as display:
        data = task_data(config, progress=display.preparing)
        if strangers := sorted(set(reinstate) - set(data.prepared.hospitals)):
            raise ConfigError(f"--reinstate {', '.join(strangers)}: hospitals: {', '.join(data.prepared.hospitals)}")
        start = start_of(config, held_out=data.held_out)
        benches = [
            TaskBench(
                config=config,
                data=data,
                planned=plan_of(config, data, seed=seed, start=start.encoder),
                display=display,
                folder=folder,
                given=start.encoder is not None,
                reinstate=reinstate,
                deadline=deadline,
            )
            for seed in config.seeds
        ]
        with alone_in(folder):
            if overwrite:
                clear(folder)
            write_text(folder / "config.yaml", text)
            plans = {f"plan of seed {bench.seed}": bench.planned.plan.digest for bench in benches}
            check_inputs(folder / "inputs.json", {**plans, "data": data.prepared.digest})
            write_hospitals(data, without_labels=config.without_labels, folder=folder / "sites")
            if start.encoder is not None:
                save_tensors(folder / START_FILE, start.encoder, meta={"schema_version": 1})
            results = {bench.seed: {name: bench.run(name) for name in bench.names()} for bench in benches}
            metrics = write_outputs(folder, benches[0], results, source=start.source)
    console.print(terminal_table(metrics))
    for line in verdict(metrics, folder=folder):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return folder
