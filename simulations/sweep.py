"""Several runs that differ in what is studied, and one table of what came out.

python -m simulations.sweep FILE [--resume] [--minutes M] [--only NAME] [key=value ...]

A sweep is a YAML file:

    title: What is asked
    question: One paragraph on how to read the answer.
    base: ../simulation/real.yaml          # relative to the sweep
    common: [federation.rounds=16]         # overrides of every run
    runs: {first: [federation.tau=0], second: [federation.tau=1]}

A run's own overrides win over those of the command line, which win over the common ones. Runs go to
`<runs>/<sweep>-<name>`, a page that compares them to `<runs>/<sweep>.html` and a table to `<runs>/<sweep>.md`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import ConfigError
from core.exits import told_errors

KEYS = {"title", "question", "base", "common", "runs"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """What a sweep's file says."""

    name: str
    title: str
    question: str
    base: Path
    common: list[str]
    runs: dict[str, list[str]]
    """Name to overrides, in order."""


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep's file; raises ConfigError with every problem."""
    import yaml  # here, so that --help is quick

    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict) or not KEYS - {"common"} <= set(content) <= KEYS:
        raise ConfigError(f"{path}: a sweep has the keys {', '.join(sorted(KEYS))} (common may be left out)")
    runs, common = content["runs"], content.get("common", [])
    found = []
    if not isinstance(runs, dict) or not runs or not all(map(_overrides, runs.values())):
        found.append(f"{path}: runs must map names to lists of key=value")
    if not _overrides(common):
        found.append(f"{path}: common must be a list of key=value")
    if found:
        raise ConfigError(found)
    base = (path.parent / str(content["base"])).resolve()
    named = {str(name): list(own) for name, own in runs.items()}
    return Sweep(
        name=path.stem,
        title=str(content["title"]),
        question=" ".join(str(content["question"]).split()),
        base=base,
        common=list(common),
        runs=named,
    )


def _overrides(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and "=" in item for item in value)


def run_sweep(
    sweep: Sweep, *, overrides: list[str], resume: bool, minutes: float | None, only: list[str]
) -> tuple[Path, Path]:
    """Run what has not ended yet and compare what has; returns the page and the table.

    Raises:
        UsfmError: What a run raises; TimeIsUp between or within runs once `minutes` have passed.
    """
    from rich.console import Console  # here, so that --help is quick

    from core import config as configuration
    from simulations.config import SimulationConfig
    from simulations.deadline import deadline_in
    from simulations.experiment import simulate
    from simulations.run_folder import check_folder

    if unknown := sorted(set(only) - set(sweep.runs)):
        raise ConfigError(f"--only {', '.join(unknown)}: the sweep has {', '.join(sweep.runs)}")
    deadline, console = deadline_in(minutes), Console()
    own = {name: [*sweep.common, *overrides, *runs, f"name={sweep.name}-{name}"] for name, runs in sweep.runs.items()}
    loaded = {name: configuration.load(SimulationConfig, path=sweep.base, overrides=o) for name, o in own.items()}
    folders = {name: Path(config.runs) / config.name for name, (config, _) in loaded.items()}
    for name in only or sweep.runs:
        folder = folders[name]
        there = resume and (folder / "config.yaml").exists()
        if there and (folder / "metrics.json").exists():
            check_folder(folder, loaded[name][1], resume=True, overwrite=False, reinstate=False)
            continue
        deadline.check(f"the start of run {name}")
        console.rule(f"{sweep.name}: {name}")
        left = deadline.minutes_left()
        simulate(path=sweep.base, overrides=own[name], resume=there, overwrite=False, console=console, minutes=left)
    return _write_comparison(sweep, [folder for folder in folders.values() if (folder / "metrics.json").exists()])


def _write_comparison(sweep: Sweep, folders: list[Path]) -> tuple[Path, Path]:
    from core.files import write_text  # here, so that --help is quick
    from simulations.comparison import as_markdown, as_page
    from simulations.saved_run import read_runs

    runs = read_runs(folders)
    page, table = (folders[0].parent / f"{sweep.name}{suffix}" for suffix in (".html", ".md"))
    write_text(page, as_page(runs))
    write_text(table, f"# {sweep.title}\n\n{sweep.question}\n\n{as_markdown(runs)}")
    return page, table


def command(
    file: Annotated[Path, typer.Argument(help="YAML file of the sweep, for example configs/sweeps/tau.yaml")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value for every run, dotted keys", show_default=False)
    ] = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="go on with what was stopped, keep what has ended")] = False,
    minutes: Annotated[float | None, typer.Option(help="stop after so many minutes at a saved state", min=0.0)] = None,
    only: Annotated[list[str] | None, typer.Option(help="this run only; may be given several times")] = None,
) -> None:
    """Run a sweep: the same federation several times, with one thing changed."""
    with told_errors():
        paths = run_sweep(read_sweep(file), overrides=overrides or [], resume=resume, minutes=minutes, only=only or [])
    sys.stdout.write("".join(f"{path}\n" for path in paths))


def main() -> None:
    """The command `python -m simulations.sweep`."""
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    application.command()(command)
    application()


if __name__ == "__main__":
    main()
