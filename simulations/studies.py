"""Which study a configuration file is of, by its key `study`, and what runs it; without one it is the pretraining."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigError

PRETRAINING = ""
"""The name of what has no key `study`."""
QUICK = (
    "federation.rounds=2",
    "federation.local_steps=2",
    "training.batch=4",
    "evaluation.masks=1",
    "evaluation.bootstrap=200",
)
"""What `--quick` changes in pretraining; an override that is given wins."""
QUICK_FINETUNE = ("federation.rounds=2", "federation.local_steps=5", "seeds=[0]", "bootstrap=200")
"""The same in federated fine-tuning."""


def study_named(path: Path) -> str:
    """The study of a configuration file; what cannot be read is left to whoever loads it.

    Raises:
        ConfigError: There is no study of that name.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return PRETRAINING
    name = content.get("study", PRETRAINING) if isinstance(content, dict) else PRETRAINING
    if not isinstance(name, str) or name not in STUDIES:
        known = ", ".join(study for study in STUDIES if study)
        raise ConfigError(f"{path}: study must be one of {known}, or left out for pretraining; got {name!r}")
    return name


# Each imports what it runs when it is called, so that --help does not wait for torch.


def _pretraining(*, overrides: list[str], quick: bool, **options: Any) -> Path:
    from simulations.experiment import simulate

    return simulate(overrides=[*(QUICK if quick else ()), *overrides], **options)


def _federated_finetune(*, overrides: list[str], quick: bool, **options: Any) -> Path:
    from simulations.federated_finetune.experiment import simulate

    return simulate(overrides=[*(QUICK_FINETUNE if quick else ()), *overrides], **options)


def _label_efficiency(*, reinstate: tuple[str, ...], **options: Any) -> Path:
    from simulations.label_efficiency.study import run_study

    if reinstate:
        raise ConfigError("--reinstate is for a federation; a study of fine-tuning has no hospital in quarantine")
    return run_study(**options)


STUDIES: dict[str, Callable[..., Path]] = {
    PRETRAINING: _pretraining,
    "federated_finetune": _federated_finetune,
    "label_efficiency": _label_efficiency,
}
"""Study -> what runs it: path, overrides, quick, resume, overwrite, minutes, reinstate, console -> the run's folder."""
