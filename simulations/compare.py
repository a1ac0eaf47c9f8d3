"""Several finished runs on one page.

python -m simulations.compare RUN RUN ... [--output FILE] [--markdown FILE]
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from core.exits import told_errors

OUTPUT = Path("compare.html")


def command(
    runs: Annotated[list[Path], typer.Argument(help="folders of finished runs, or their metrics.json")],
    *,
    output: Annotated[Path, typer.Option(help="page to write")] = OUTPUT,
    markdown: Annotated[Path | None, typer.Option(help="also write the table of results to this file")] = None,
) -> None:
    """Set runs side by side: what differs between them, and what came out."""
    with told_errors():
        _compare(runs, output=output, table=markdown)


def _compare(paths: list[Path], *, output: Path, table: Path | None) -> None:
    # Here, so that --help does not wait for torch and matplotlib.
    from core.files import write_text
    from simulations.comparison import as_markdown, as_page
    from simulations.saved_run import read_runs

    runs = read_runs(paths)
    write_text(output, as_page(runs))
    if table is not None:
        write_text(table, as_markdown(runs))
    sys.stdout.write("".join(f"{path}\n" for path in (output, table) if path is not None))


if __name__ == "__main__":
    typer.run(command)
