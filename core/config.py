"""Configuration through one door: YAML files and `key=value` overrides into frozen dataclasses, every problem at once.

Sections are dataclasses whose `__post_init__` raises ConfigError with the problems of its own fields. An unknown key is
an error with the nearest known key beside it.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from core.errors import ConfigError

_T = TypeVar("_T")


def load(schema: type[_T], *, path: Path | None, overrides: Iterable[str]) -> tuple[_T, str]:
    """Read a configuration.

    Args:
        schema: The dataclass of the whole configuration; its defaults hold where nothing is said.
        path: A YAML file, or None.
        overrides: `section.key=value`, later ones win.

    Returns:
        The configuration, and its resolved text as YAML.

    Raises:
        ConfigError: With every problem of the file, the overrides and the values.
    """
    problems: list[str] = []
    assignments = [*_from_file(path, schema, problems), *_from_overrides(overrides, schema, problems)]
    config: DictConfig = OmegaConf.structured(schema)
    _unlock(config)
    for source, key, value in assignments:
        try:
            OmegaConf.update(config, key, value, merge=isinstance(value, dict))
        except OmegaConfBaseException as error:
            problems.append(f"{source}: {key}: {str(error).splitlines()[0]}")
    built = _build(config, schema, problems)
    if problems or built is None:
        raise ConfigError(problems, title="configuration")
    return built, OmegaConf.to_yaml(config, resolve=True)


def _unlock(config: DictConfig) -> None:
    """OmegaConf marks the nodes of frozen dataclasses read-only; values are set here, then frozen again as built."""
    OmegaConf.set_readonly(config, False)
    for key in config:
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none():
            _unlock(node)


def _from_file(path: Path | None, schema: type, problems: list[str]) -> list[tuple[str, str, Any]]:
    if path is None:
        return []
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})")
        return []
    except yaml.YAMLError as error:
        problems.append(f"{path}: not YAML ({' '.join(str(error).split())})")
        return []
    if content is None:
        return []
    if not isinstance(content, dict):
        problems.append(f"{path}: must hold sections and keys, found {type(content).__name__}")
        return []
    return list(_leaves(content, schema, source=str(path), problems=problems))


def _from_overrides(overrides: Iterable[str], schema: type, problems: list[str]) -> list[tuple[str, str, Any]]:
    found: list[tuple[str, str, Any]] = []
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign or not key:
            problems.append(f"{override!r}: an override is written key=value")
            continue
        try:
            nested: Any = yaml.safe_load(text)
        except yaml.YAMLError:
            nested = text
        for part in reversed(key.split(".")):
            nested = {part: nested}
        found.extend(_leaves(nested, schema, source="command line", problems=problems))
    return found


def _leaves(
    values: Mapping[Any, Any], schema: type, *, source: str, problems: list[str], prefix: str = ""
) -> Iterator[tuple[str, str, Any]]:
    """Dotted keys and values down to what the schema calls a value; unknown keys become problems."""
    known = get_type_hints(schema)
    for name, value in values.items():
        key = f"{prefix}{name}"
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f", did you mean {prefix}{near[0]}?" if near else f"; known here: {', '.join(known)}"
            problems.append(f"{source}: unknown key {key}{hint}")
        elif is_dataclass(known[name]) and isinstance(value, Mapping):
            yield from _leaves(value, known[name], source=source, problems=problems, prefix=f"{key}.")  # type: ignore[arg-type]
        elif is_dataclass(known[name]):
            problems.append(f"{source}: {key} is a section, found {value!r}")
        elif isinstance(value, Mapping):
            yield from _mapping(value, known[name], source=source, problems=problems, key=key)
        else:
            yield source, key, value


def _mapping(
    value: Mapping[Any, Any], kind: Any, *, source: str, problems: list[str], key: str
) -> Iterator[tuple[str, str, Any]]:
    """A free mapping (hospital names, for example) is one value; anywhere else a mapping is a mistake."""
    if getattr(kind, "__origin__", None) is dict:
        yield source, key, dict(value)
    else:
        problems.append(f"{source}: {key} is a single value, found the keys {', '.join(map(str, value))}")


def _build(config: DictConfig, schema: type[_T], problems: list[str], prefix: str = "") -> _T | None:
    """Make each section by itself, so that one section's problem does not hide another's."""
    hints = get_type_hints(schema)
    values: dict[str, Any] = {}
    for item in fields(schema):  # type: ignore[arg-type]
        try:
            node = OmegaConf.select(config, item.name, throw_on_missing=True)
        except OmegaConfBaseException as error:
            problems.append(f"{prefix}{item.name}: {str(error).splitlines()[0]}")
            continue
        kind = hints[item.name]
        if is_dataclass(kind) and isinstance(kind, type):
            values[item.name] = _build(node, kind, problems, prefix=f"{prefix}{item.name}.")
        else:
            values[item.name] = OmegaConf.to_object(node) if OmegaConf.is_config(node) else node
    if any(is_dataclass(hints[name]) and value is None for name, value in values.items()) or len(values) < len(hints):
        return None
    try:
        return schema(**values)
    except ConfigError as error:
        problems.extend(error.problems)
        return None
