"""The whole federation on one machine, beside what it is compared with; or a study of what its encoders are worth.

python simulations/run.py [--config FILE] [--resume] [--minutes M] [--quick] [name=NAME] [key=value ...]

A file with the key `study: label_efficiency` is a study (`simulations.label_efficiency`), any other a simulation.
"""

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import ConfigError
from core.exits import told_errors
from simulations.label_efficiency import STUDY

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
    """Pretrain one ultrasound encoder in a simulated federation, and compare it with its alternatives."""
    options: dict[str, Any] = {"resume": resume, "overwrite": overwrite, "minutes": minutes}
    with told_errors():
        if config is not None and holds_study(config):
            _study(config, overrides or [], quick=quick, reinstate=reinstate, **options)
        else:
            chosen = [*(QUICK if quick else ()), *(overrides or [])]
            _simulation(config or DEMO, chosen, reinstate=tuple(reinstate or ()), **options)


def _simulation(path: Path, overrides: list[str], **options: Any) -> None:
    # Here, so that --help does not wait for torch.
    from rich.console import Console

    from simulations.experiment import simulate

    simulate(path=path, overrides=overrides, console=Console(), **options)


def holds_study(path: Path) -> bool:
    """Whether a file is that of a label-efficiency study, by its key `study`; raises ConfigError for an unknown word.

    A file that cannot be read is nobody's study: who loads it says what is wrong.
    """
    import yaml  # here, so that --help is quick

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return False
    if not isinstance(content, dict) or "study" not in content:
        return False
    if content["study"] != STUDY:
        raise ConfigError(f"{path}: study {content['study']!r} is not known; there is {STUDY}")
    return True


def _study(path: Path, overrides: list[str], *, reinstate: list[str] | None, **options: Any) -> None:
    # Here for the reason above.
    from rich.console import Console

    from simulations.label_efficiency.study import run_study

    if reinstate:
        raise ConfigError("--reinstate is for a federation; a study of fine-tuning has no hospital in quarantine")
    run_study(path=path, overrides=overrides, console=Console(), **options)


def main() -> None:
    """The command `usfm-simulate`."""
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    application.command()(command)
    application()


if __name__ == "__main__":
    main()
