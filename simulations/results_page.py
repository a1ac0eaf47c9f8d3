"""A run's results as a page of Markdown, for `docs/results`.

python -m simulations.results_page RUN [--output FILE] [--config FILE] [--goals FILE]
"""

import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from core.exits import told_errors

GOALS = Path(str(files("configs") / "goals.yaml"))


def command(
    run: Annotated[Path, typer.Argument(help="folder of a finished run, or its metrics.json")],
    *,
    output: Annotated[Path | None, typer.Option(help="file to write; without it the page is printed")] = None,
    config: Annotated[
        Path | None, typer.Option(help="configuration file that the run was started with; else the nearest shipped one")
    ] = None,
    goals: Annotated[Path, typer.Option(help="YAML list of what the run should show")] = GOALS,
) -> None:
    """Write what a run shows, how to repeat it, its tables, goals and limits."""
    with told_errors():
        page = _page(run, config=config, goals=goals)
        if output is None:
            sys.stdout.write(page)
        else:
            from core.files import write_text

            write_text(output, page)


def _page(path: Path, *, config: Path | None, goals: Path) -> str:
    # Here, so that --help does not wait for torch, which the configuration's sections bring along.
    from core.evaluation.goals import read_goals
    from core.evaluation.results_page import results_page
    from simulations.reproduce import commands
    from simulations.saved_run import read_run, versions_of

    run = read_run(path)
    lines = commands(run, base=config)
    return results_page(run.metrics, commands=lines, goals=read_goals(goals), versions=versions_of(run))


if __name__ == "__main__":
    typer.run(command)
