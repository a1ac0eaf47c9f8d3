"""One run: every arm is trained and scored with every training seed and kept, then every output is written."""

from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from core import config as configuration
from core.errors import ConfigError
from core.evaluation.table import terminal_table
from core.files import write_text
from core.run_folder import alone_in, check_inputs, clear
from server.state import Store
from simulations.arm_pool import train_at_once
from simulations.arms import Bench, benches_of
from simulations.config import SimulationConfig
from simulations.deadline import deadline_in
from simulations.display import Display
from simulations.outputs import write_outputs
from simulations.prepare import prepare, write_sites
from simulations.results import BySeed
from simulations.run_folder import check_folder
from simulations.score import Scorer, train_and_score
from simulations.verdict import verdict


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
        UsfmError: Whatever is wrong with configuration, data, disk or folder; a new run's folder is made only after
            configuration and data were found good. TimeIsUp once `minutes` have passed.
    """
    deadline = deadline_in(minutes)
    config, text = configuration.load(SimulationConfig, path=path, overrides=overrides)
    torch.set_num_threads(config.threads)
    folder = Path(config.runs) / config.name
    check_folder(folder, text, resume=resume, overwrite=overwrite, reinstate=bool(reinstate))
    with Display(console, logs=folder / "tensorboard") as display:
        prepared = prepare(config, progress=display.preparing)
        benches = benches_of(config, prepared, display=display, folder=folder, reinstate=reinstate, deadline=deadline)
        first = benches[0]
        if strangers := sorted(set(reinstate) - set(prepared.hospitals)):
            raise ConfigError(f"--reinstate {', '.join(strangers)}: the hospitals are {', '.join(prepared.hospitals)}")
        display.case_mix(prepared.case_mix)
        scorer = Scorer(first)
        with alone_in(folder):
            if overwrite:
                clear(folder)
            write_text(folder / "config.yaml", text)
            check_inputs(folder / "inputs.json", {"plan": first.plan.digest, "data": prepared.digest})
            write_sites(prepared, folder=folder / "sites")
            results = _train_all(benches, scorer)
            display.say("writing the report")
            metrics = write_outputs(folder, first, results, scorer=scorer, config_text=text)
    _tell(console, metrics, _receipts(benches), folder=folder)
    return folder


def _train_all(benches: list[Bench], scorer: Scorer) -> BySeed:
    """Every arm of every seed, from its folder or trained now."""
    at_once = benches[0].config.sim.arms_at_once
    if at_once > 1:
        train_at_once(benches, processes=at_once)
    return {bench.seed: {name: train_and_score(bench, name, scorer) for name in bench.names()} for bench in benches}


def _receipts(benches: list[Bench]) -> list[dict[str, Any]]:
    """Those of every seed's federation."""
    return [line for bench in benches for line in Store(bench.arms / "federated" / "server").receipts()]


def _tell(console: Console, metrics: dict[str, Any], receipts: list[dict[str, Any]], *, folder: Path) -> None:
    """What a person reads last: the arms, and how it ended."""
    console.print(terminal_table(metrics))
    for line in verdict(metrics, receipts, folder=folder):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
