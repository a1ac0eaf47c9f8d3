"""One run: every arm is trained, scored and kept, then every output is written."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from core import config as configuration
from core.errors import ConfigError
from core.evaluation.arms import LOCAL
from core.evaluation.table import terminal_table
from core.files import write_text
from server.state import Store
from simulations.arms import Bench, plan_of
from simulations.config import SimulationConfig
from simulations.display import Display
from simulations.outputs import write_outputs
from simulations.prepare import prepare, write_sites
from simulations.results import Scored, Trained, load_result, save_result
from simulations.run_folder import alone_in, check_folder, check_inputs, clear
from simulations.score import Scorer
from simulations.verdict import verdict

Job = tuple[str, Callable[[Path], Trained]]


def simulate(
    *,
    path: Path | None,
    overrides: list[str],
    resume: bool,
    overwrite: bool,
    console: Console,
    reinstate: tuple[str, ...] = (),
) -> Path:
    """Run every arm and write every output; returns the run's folder.

    Raises:
        UsfmError: Whatever is wrong with configuration, data, disk or folder; a new run's folder is made only after
            configuration and data were found good.
    """
    config, text = configuration.load(SimulationConfig, path=path, overrides=overrides)
    torch.set_num_threads(config.threads)
    folder = Path(config.runs) / config.name
    check_folder(folder, text, resume=resume, overwrite=overwrite, reinstate=bool(reinstate))
    with Display(console, logs=folder / "tensorboard") as display:
        prepared = prepare(config, progress=display.preparing)
        plan = plan_of(config, prepared)
        if strangers := sorted(set(reinstate) - set(prepared.hospitals)):
            raise ConfigError(f"--reinstate {', '.join(strangers)}: the hospitals are {', '.join(prepared.hospitals)}")
        display.case_mix(prepared.case_mix)
        bench = Bench(config=config, prepared=prepared, plan=plan, display=display, folder=folder, reinstate=reinstate)
        scorer = Scorer(bench)
        with alone_in(folder):
            if overwrite:
                clear(folder)
            write_text(folder / "config.yaml", text)
            check_inputs(folder / "inputs.json", {"plan": plan.digest, "data": prepared.digest})
            write_sites(prepared, folder=folder / "sites")
            results = {name: _arm(folder / "arms" / name, train, scorer) for name, train in _jobs(bench)}
            display.say("writing the report")
            server = Store(folder / "arms" / "federated" / "server")
            examples = scorer.examples(results["federated"][0].model, arm="federated")
            metrics = write_outputs(folder, bench, results, server=server, examples=examples, config_text=text)
    _tell(console, metrics, server.receipts(), folder=folder)
    return folder


def _tell(console: Console, metrics: dict[str, Any], receipts: list[dict[str, Any]], *, folder: Path) -> None:
    """What a person reads last: the arms, and how it ended."""
    console.print(terminal_table(metrics))
    for line in verdict(metrics, receipts, folder=folder):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _jobs(bench: Bench) -> Iterator[Job]:
    """The arms that the configuration asks for, by name, each with how it is trained."""
    arms = bench.config.arms
    if "random_init" in arms:
        yield "random_init", lambda _: bench.random_init()
    if "local" in arms:
        for site in sorted(bench.prepared.hospitals):
            yield f"{LOCAL}{site}", partial(bench.alone, site)
    if "fedavg" in arms:
        yield "fedavg", partial(bench.federated, weighting="fedavg")
    yield "federated", partial(bench.federated, weighting="organ_aware")
    if "centralized" in arms:
        yield "centralized_wide", partial(bench.pooled, wide=True)
        yield "centralized_long", partial(bench.pooled, wide=False)


def _arm(folder: Path, train: Callable[[Path], Trained], scorer: Scorer) -> tuple[Trained, Scored]:
    """A finished arm from its folder, or train and score it now."""
    if (found := load_result(folder)) is not None:
        return found
    trained = train(folder)
    scored = scorer.score(trained.model)
    save_result(folder, trained, scored)
    return trained, scored
