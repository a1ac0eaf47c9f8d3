"""The encoder that every arm starts from: random weights, those of a finished run, or a file's."""

from pathlib import Path

from core.errors import ConfigError
from core.federation.task_section import ENCODER
from core.federation.tensors import Tensors, problems_with, spec_of, state_of
from core.files import load_tensors
from core.models.encoder import build_encoder
from simulations.federated_finetune.config import FederatedFinetuneConfig
from simulations.results import SCHEMA_VERSION
from simulations.saved_run import SavedRun, read_run


def start_of(config: FederatedFinetuneConfig) -> Tensors | None:
    """The encoder's tensors, or None for random weights.

    Raises:
        ConfigError: The run has no such arm or held out other patients, or the weights are of another architecture.
        CheckpointError: A file is damaged.
    """
    if config.start.weights:
        found, place = load_tensors(Path(config.start.weights), schema=1)[0], config.start.weights
    elif config.start.run:
        found, place = _of_run(config), f"start: {config.start.run}, arm {config.start.arm}"
    else:
        return None
    if problems := problems_with(found, spec_of(state_of(build_encoder(config.encoder, seed=0)))):
        raise ConfigError([f"{problem}; give the encoder of that run" for problem in problems], title=place)
    return found


def _of_run(config: FederatedFinetuneConfig) -> Tensors:
    run = read_run(Path(config.start.run))
    _check_held_out(config, run)
    seed = (run.metrics.get("seeds") or [0])[0]
    path = run.folder / "arms" / f"seed-{seed}" / config.start.arm / "arm.safetensors"
    if not path.exists():
        raise ConfigError(f"start.arm: {run.folder} has no arm {config.start.arm}; one of arms/seed-{seed} is meant")
    model = load_tensors(path, schema=SCHEMA_VERSION)[0]
    return {name.removeprefix(ENCODER): value for name, value in model.items() if name.startswith(ENCODER)}


def _check_held_out(config: FederatedFinetuneConfig, run: SavedRun) -> None:
    """Refuse an encoder that may have been trained on patients held out here."""
    old = run.settings or {}
    mine = {"seed": config.seed, "data.test": config.data.test, "data.validation": config.data.validation}
    same = old.get("data.manifest") in (None, config.data.manifest)
    if same and any(old.get(key) != value for key, value in mine.items()):
        raise ConfigError("start.run: that run held out other patients of the same images; take its seed and shares")
