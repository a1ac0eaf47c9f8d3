"""The whole federation on one machine, beside what it is compared with; or a study of what its encoders are worth.

python simulations/run.py [--config FILE] [--resume] [--minutes M] [--quick] [name=NAME] [key=value ...]

A file with the key `study` is of one of `simulations.studies`, any other a simulation of pretraining.
"""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from core.exits import told_errors

DEMO = Path(str(files("configs") / "simulation" / "demo.yaml"))
"""The configuration when none is given."""


def command(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="name=NAME and key=value, dotted keys", show_default=False)
    ] = None,
    *,
    config: Annotated[Path | None, typer.Option(help="YAML file; the demonstration's if none is given")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with a run that was stopped")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="a few steps only, to see that everything works")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="remove the run of this name first")] = False,
    minutes: Annotated[
        float | None, typer.Option(help="stop after so many minutes at a saved state; --resume goes on", min=0.0)
    ] = None,
    reinstate: Annotated[
        list[str] | None, typer.Option(metavar="HOSPITAL", help="ask a quarantined hospital again, with --resume")
    ] = None,
) -> None:
    """Pretrain one ultrasound encoder in a simulated federation, and compare it with its alternatives.

    A configuration with a key `study` runs that study in place of pretraining.
    """
    # Here, so that --help does not wait for torch.
    from rich.console import Console

    from simulations.studies import STUDIES, study_named

    path = config or DEMO
    with told_errors():
        STUDIES[study_named(path)](
            path=path,
            overrides=overrides or [],
            quick=quick,
            resume=resume,
            overwrite=overwrite,
            console=Console(),
            reinstate=tuple(reinstate or ()),
            minutes=minutes,
        )


def main() -> None:
    """The command `usfm-simulate`."""
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    application.command()(command)
    application()


if __name__ == "__main__":
    main()
