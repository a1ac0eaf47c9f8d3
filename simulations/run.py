"""The whole federation on one machine, beside what it is compared with.

python simulations/run.py [--config FILE] [--resume] [--reinstate HOSPITAL] [--quick] [name=NAME] [key=value ...]
"""

import fcntl
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from core import config as configuration
from core.errors import CheckpointError, ConfigError, RunExists, UsfmError
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
from simulations.score import Scorer
from simulations.verdict import verdict

QUICK = (
    "federation.rounds=2",
    "federation.local_steps=2",
    "training.batch=4",
    "evaluation.masks=1",
    "evaluation.bootstrap=200",
)
"""What `--quick` changes; an override that is given wins."""
DEMO = Path(str(files("configs") / "simulation" / "demo.yaml"))
"""The configuration when none is given."""
LOCK = ".lock"
"""Held in the run's folder by the process that writes there."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it."""

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
    _check_folder(folder, text, resume=resume, overwrite=overwrite, reinstate=bool(reinstate))
    with Display(console, logs=folder / "tensorboard") as display:
        prepared = prepare(config, progress=display.preparing)
        plan = plan_of(config, prepared)
        if strangers := sorted(set(reinstate) - set(prepared.hospitals)):
            raise ConfigError(f"--reinstate {', '.join(strangers)}: the hospitals are {', '.join(prepared.hospitals)}")
        display.case_mix(prepared.case_mix)
        bench = Bench(config=config, prepared=prepared, plan=plan, display=display, folder=folder, reinstate=reinstate)
        scorer = Scorer(bench)
        with _alone_in(folder):
            if overwrite:
                _clear(folder)
            write_text(folder / "config.yaml", text)
            _check_inputs(folder / "inputs.json", {"plan": plan.digest, "data": prepared.digest})
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


def _check_folder(folder: Path, text: str, *, resume: bool, overwrite: bool, reinstate: bool) -> None:
    saved = folder / "config.yaml"
    if reinstate and not resume:
        raise ConfigError("--reinstate lifts a quarantine of a run that was stopped; give --resume with it")
    if resume and overwrite:
        raise ConfigError("--resume goes on with a run and --overwrite removes it; give one of them")
    if overwrite and _taken(folder) and not saved.exists():
        raise RunExists(
            f"{folder} holds no run (no config.yaml), so --overwrite does not touch it; choose another name"
        )
    if resume and not saved.exists():
        raise ConfigError(f"{folder}: there is no run to resume; leave --resume out to start one")
    if resume and saved.read_text() != text:
        raise CheckpointError(
            f"{saved} differs from this configuration; resume with the same one:\n{_difference(saved, text)}"
        )
    if not resume and not overwrite and _taken(folder):
        raise RunExists(f"{folder} exists; choose another name=NAME, or --resume to go on with it")


def _taken(folder: Path) -> bool:
    """Whether something is there; an empty folder, or one with the lock only, is what a kill at the start leaves."""
    return folder.exists() and (not folder.is_dir() or any(path.name != LOCK for path in folder.iterdir()))


def _check_inputs(path: Path, digests: dict[str, str]) -> None:
    """Keep the digests of plan and data at the start of a run, and refuse to go on with others."""
    text = json.dumps(digests, indent=2) + "\n"
    if not path.exists():
        write_text(path, text)
    elif path.read_text() != text:
        raise CheckpointError(f"{path}: data, code or torch changed since the run began; start a new run")


def _clear(folder: Path) -> None:
    """Remove a run, `config.yaml` last, so that a removal that was interrupted can be repeated."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == "config.yaml"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _difference(saved: Path, text: str) -> str:
    before, after = saved.read_text().splitlines(), text.splitlines()
    gone = [f"  saved: {line.strip()}" for line in before if line not in after]
    return "\n".join(gone + [f"  now:   {line.strip()}" for line in after if line not in before])


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Make and hold the run's folder, so that a second process does not write into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}); choose another runs=FOLDER") from error
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunExists(f"{folder} is in use by another process") from error
        yield


def command(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="name=NAME and key=value, dotted keys", show_default=False)
    ] = None,
    *,
    config: Annotated[Path | None, typer.Option(help="YAML file; the demonstration's if none is given")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with a run that was stopped")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="a few steps only, to see that everything works")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="remove the run of this name first")] = False,
    reinstate: Annotated[
        list[str] | None, typer.Option(metavar="HOSPITAL", help="ask a quarantined hospital again, with --resume")
    ] = None,
) -> None:
    """Pretrain one ultrasound encoder in a simulated federation, and compare it with its alternatives."""
    console = Console()
    chosen = [*(QUICK if quick else ()), *(overrides or [])]
    try:
        simulate(
            path=config or DEMO,
            overrides=chosen,
            resume=resume,
            overwrite=overwrite,
            console=console,
            reinstate=tuple(reinstate or ()),
        )
    except UsfmError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        sys.stderr.write("interrupted; the same command with --resume goes on\n")
        raise typer.Exit(INTERRUPTED) from error


def main() -> None:
    """The command `usfm-simulate`."""
    typer.run(command)


if __name__ == "__main__":
    main()
