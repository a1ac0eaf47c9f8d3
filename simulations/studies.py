"""Which study a configuration file is of: its key `study`; without one, the pretraining of `simulations.experiment`."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigError

PRETRAINING = ""
"""The name of what has no key `study`."""
STUDIES = {
    PRETRAINING: "simulations.experiment",
    "federated_finetune": "simulations.federated_finetune.experiment",
}
"""Study -> the module whose `simulate` runs it, imported when it is asked for."""
QUICK = {
    PRETRAINING: (
        "federation.rounds=2",
        "federation.local_steps=2",
        "training.batch=4",
        "evaluation.masks=1",
        "evaluation.bootstrap=200",
    ),
    "federated_finetune": ("federation.rounds=2", "federation.local_steps=5", "seeds=[0]", "bootstrap=200"),
}
"""What `--quick` changes; an override that is given wins."""


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


def simulator(study: str) -> Callable[..., Any]:
    """The function that runs a study."""
    run: Callable[..., Any] = import_module(STUDIES[study]).simulate
    return run
