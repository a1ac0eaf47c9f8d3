"""The pretraining of a study: a finished run that fits its data, or a simulation in the study's own folder."""

import json
from pathlib import Path

from rich.console import Console

from core import config as configuration
from core.errors import CheckpointError, ConfigError
from simulations.config import SimulationConfig
from simulations.deadline import Deadline
from simulations.experiment import simulate
from simulations.label_efficiency.bench import PRETRAINING_FILE, Bench
from simulations.label_efficiency.config import FLOOR
from simulations.run_folder import check_folder


def check_run(bench: Bench) -> None:
    """Refuse encoders of a run on other images, or on patients who are held out here; raises ConfigError."""
    own = bench.config.pretraining.run
    if not own:
        return
    path = Path(own) / "inputs.json"
    try:
        digest = json.loads(path.read_bytes())["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); give the folder of a finished run") from error
    if digest != bench.digest:
        raise ConfigError(
            f"pretraining.run: {own} was made from other images, labels, splits or hospitals than "
            f"{bench.prepared.manifest.path} gives, and may have seen patients who are held out here; give the images "
            "of that run"
        )


def pretrain(bench: Bench, *, console: Console, deadline: Deadline) -> Path | None:
    """The folder of the finished pretraining; None where no arm needs one.

    Raises:
        UsfmError: What the simulation raises; TimeIsUp at a saved state of it.
    """
    if not [arm for arm in bench.config.arms if arm != FLOOR]:
        return None
    if bench.config.pretraining.run:
        return Path(bench.config.pretraining.run)
    folder = Path(bench.simulation.runs) / bench.simulation.name
    path = bench.folder / PRETRAINING_FILE
    _, text = configuration.load(SimulationConfig, path=path, overrides=())
    begun = (folder / "config.yaml").exists()
    if (folder / "metrics.json").exists():
        check_folder(folder, text, resume=True, overwrite=False, reinstate=False)
        return folder
    console.rule("pretraining")
    return simulate(
        path=path, overrides=[], resume=begun, overwrite=False, console=console, minutes=deadline.minutes_left()
    )
