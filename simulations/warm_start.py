"""The weights that every arm starts from: random ones, or those of a finished run's pooled arm."""

from pathlib import Path

from core.errors import ConfigError
from core.federation.tensors import Tensors
from core.files import load_tensors
from simulations.config import SimulationConfig
from simulations.results import SCHEMA_VERSION
from simulations.saved_run import read_run


def start_file(folder: str) -> Path | None:
    """The file of the pooled arm of the run in `folder`, its first seed; None for no folder.

    Raises:
        ConfigError: The run is not there, has not ended, or has no pooled arm.
        CheckpointError: Its document is damaged.
    """
    if not folder:
        return None
    metrics = read_run(Path(folder)).metrics
    reference, seeds = metrics.get("reference"), metrics.get("seeds") or [0]
    path = Path(folder) / "arms" / f"seed-{seeds[0]}" / str(reference) / "arm.safetensors"
    if reference is None or not path.exists():
        raise ConfigError(f"warm_start: {folder} has no trained pooled arm; run it with arms=[centralized]")
    return path.resolve()


def start_of(folder: str) -> Tensors | None:
    """The model itself; raises what `start_file` raises, and CheckpointError for a damaged file."""
    path = start_file(folder)
    return None if path is None else load_tensors(path, schema=SCHEMA_VERSION)[0]


def check_start(config: SimulationConfig) -> None:
    """Refuse a start that may have been trained on patients held out here; raises ConfigError."""
    if not config.warm_start:
        return
    old = read_run(Path(config.warm_start)).settings or {}
    mine = {"seed": config.seed, "data.test": config.data.test, "data.validation": config.data.validation}
    same = old.get("data.manifest") in (None, config.data.manifest)
    if same and any(old.get(key) != value for key, value in mine.items()):
        raise ConfigError("warm_start: that run held out other patients of the same images; take its seed and shares")
