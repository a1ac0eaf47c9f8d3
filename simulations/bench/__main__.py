"""Measure, print a table, write JSON.

    python -m simulations.bench [NAME ...] [--json FILE] [--markdown FILE]

Every ratio is `baseline / ours`, of time or memory: above 1 is better for us. `docs/bench.md` says what each row means.
"""

import gc
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from core.evaluation import markdown
from core.files import write_json, write_text
from simulations.bench import folding, idle, reading, spectrum, start, steps, tuning
from simulations.bench.rows import Row, Settings

MEASURES: dict[str, Callable[[Settings], Row]] = {
    "step-same-objective": steps.same_objective,
    "step-visible": steps.visible_only,
    "step-peak": steps.against_peak,
    "band-stop": spectrum.filtering,
    "cache-clinical": reading.clinical,
    "cache-small": reading.small_files,
    "fold": folding.folding,
    "wire": folding.from_the_wire,
    "wire-memory": folding.memory,
    "simulator": idle.every_check,
    "transport": idle.transport,
    "start": start.command_line,
    **tuning.rows(),
    "tune-evaluation": tuning.evaluation,
}
"""Every row by its name."""
WIDTH = 150
"""Characters of a table that goes to a file or a pipe."""


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="rows to measure; all without one")] = None,
    seconds: Annotated[float, typer.Option(help="for each side of each comparison", min=0.001)] = 5.0,
    output: Annotated[Path | None, typer.Option("--json", help="also write the rows to this file")] = None,
    page: Annotated[Path | None, typer.Option("--markdown", help="also write the table to this file")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of torch", min=1)] = 1,
    small: Annotated[bool, typer.Option("--small", help="tiny sizes: to see that it works, not how fast")] = False,  # noqa: FBT002 -- a flag of the command line
) -> None:
    """Speed and memory as ratios against named baselines, each row measured in turn in this one run."""
    chosen = names or list(MEASURES)
    if unknown := [name for name in chosen if name not in MEASURES]:
        raise typer.BadParameter(f"no row is called {', '.join(unknown)}; the rows are {', '.join(MEASURES)}")
    torch.set_num_threads(threads)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(folder=Path(folder), seconds=seconds, threads=threads, small=small)
        for name in chosen:
            with console.status(name):
                rows.append(MEASURES[name](settings))
            gc.collect()
    console.print(table_of(rows))
    if output is not None:
        write_json(output, [row.document() for row in rows])
    if page is not None:
        write_text(page, markdown_of(rows))


HEAD = ("row", "ratio", "goal", "baseline", "ours", "on")


def table_of(rows: list[Row]) -> Table:
    """What the command prints."""
    table = Table(*HEAD, show_lines=True, title=f"torch {torch.__version__}")
    for row in rows:
        table.add_row(*cells(row))
    return table


def markdown_of(rows: list[Row]) -> str:
    """The same for a page."""
    return f"torch {torch.__version__}\n\n{markdown.table(HEAD, [cells(row) for row in rows], words=(2, 3, 4, 5))}\n"


def cells(row: Row) -> list[str]:
    """A row's cells below `HEAD`."""
    goal = {True: "met", False: "not met", None: "not measured"}[row.met]
    baseline_rate, ours_rate = row.rates
    baseline = f"{row.baseline_name}: {_short(row, row.baseline, baseline_rate)}"
    threads = f"{row.threads} thread{'s' if row.threads > 1 else ''}"
    return [
        row.name,
        "-" if row.ratio is None else f"{row.ratio:.3g}",
        f"{row.goal:g}: {goal}",
        f"not measured: {row.skipped}" if row.skipped else baseline,
        f"{row.ours_name}: {_short(row, row.ours, ours_rate)}",
        f"{row.sizes}; {threads}",
    ]


def _short(row: Row, value: float | None, rate: float | None) -> str:
    rates = "" if rate is None else f", {rate:,.4g} {row.items}/s"
    return "-" if value is None else f"{value:.4g} {row.unit}{rates}"


if __name__ == "__main__":
    application = typer.Typer(pretty_exceptions_enable=False)
    application.command()(main)
    application()
