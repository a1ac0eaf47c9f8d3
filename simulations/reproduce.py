"""The command that repeats a run, found from its resolved configuration and checked by resolving it again."""

import json
import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any

import yaml

from core import config as configuration
from core.errors import ConfigError
from simulations.config import SimulationConfig
from simulations.saved_run import SavedRun, Settings, flat
from simulations.studies import PRETRAINING, study_named

SHIPPED = Path(str(files("configs") / "simulation"))
PLACES = ("runs", "data.cache")
"""Where files lie; they change no number."""
FREE = ("evaluation.tasks", "partition.mixes", "skip")
"""Sections whose names are the user's own; they are given whole."""


def commands(run: SavedRun, *, base: Path | None) -> list[str]:
    """Lines of shell that repeat a run: the first starts it, the second goes on where it was stopped.

    The configuration file is `base`, or of the shipped ones the one that needs the fewest overrides. Where no
    configuration file gives the run's values, the run's own `config.yaml` is named.

    Args:
        run: With its settings; without them nothing is known and no line is given.
        base: The configuration file that the run was started with, or None.

    Raises:
        ConfigError: `base` is no configuration.
    """
    if run.settings is None:
        return []
    found = [(path, overrides) for path in ([base] if base else shipped())
             if (overrides := _overrides(run.settings, path)) is not None]  # fmt: skip
    shown: PurePath
    if found:
        path, overrides = min(found, key=lambda pair: len(pair[1]))
        shown = PurePath("configs/simulation", path.name) if path.resolve().parent == SHIPPED else PurePath(path.name)
        words = [f"{key}={_shown(key, value)}" for key, value in overrides.items()]
    else:
        shown, words = PurePath("config.yaml"), []
    line = shlex.join(["python", "simulations/run.py", "--config", str(shown), *words])
    return [line, f"{line} --resume"]


def shipped() -> list[Path]:
    """The configurations of pretraining that ship."""
    return [path for path in sorted(SHIPPED.glob("*.yaml")) if study_named(path) == PRETRAINING]


def _overrides(settings: Settings, base: Path) -> dict[str, Any] | None:
    """What differs from a configuration file, or None where overrides cannot express it."""
    wanted = _sections(settings)
    plain = _resolved(base, [])
    found = {key: value for key, value in wanted.items() if plain.get(key, "") != value}
    words = [f"{key}={_text(value)}" for key, value in found.items()]
    try:
        return found if _resolved(base, words) == wanted else None
    except ConfigError:  # a key of another version of the code
        return None


def _resolved(base: Path, overrides: list[str]) -> Settings:
    """A configuration file's resolved values; raises ConfigError."""
    _, text = configuration.load(SimulationConfig, path=base, overrides=overrides)
    return _sections(flat(yaml.safe_load(text)))


def _sections(settings: Settings) -> Settings:
    """Without places; a section of free names is one value."""
    found: Settings = {}
    for key, value in settings.items():
        section = next((name for name in FREE if key.startswith(f"{name}.")), None)
        if section is not None:
            inner = found.setdefault(section, {})
            *parents, last = key.removeprefix(f"{section}.").split(".")
            for name in parents:
                inner = inner.setdefault(name, {})
            inner[last] = value
        elif key not in PLACES:
            found[key] = value
    return found


def _text(value: Any) -> str:
    """A value as an override says it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown(key: str, value: Any) -> str:
    """As `_text`, without the folders of the machine on which the run was made."""
    if key == "data.manifest" and value != "phantom":
        return f"PATH/{PurePath(str(value)).name}"
    return _text(value)


def described(settings: Mapping[str, Any], key: str) -> str:
    """One setting for a table; a path without the folders of its machine, a dash where it is not known."""
    return _shown(key, settings[key]) if key in settings else "–"
