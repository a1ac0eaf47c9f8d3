"""Configuration through one door: YAML files and `key=value` overrides into frozen dataclasses, every problem at once.

Sections are dataclasses whose `__post_init__` raises ConfigError with the problems of its own fields. An unknown key is
an error with the nearest known key beside it.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
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
    return _resolve(schema, assignments, problems)


def from_mapping(schema: type[_T], values: Mapping[Any, Any], *, source: str) -> _T:
    """A configuration from what a document holds (a plan, a saved file), as strictly as `load` reads a file.

    Args:
        schema: The dataclass of the whole configuration; its defaults hold where nothing is said.
        values: Keys and plain values, sections as mappings.
        source: What to call the document in messages.

    Raises:
        ConfigError: With every problem of the keys and the values.
    """
    problems: list[str] = []
    assignments = list(_leaves(values, schema, source=source, problems=problems))
    return _resolve(schema, assignments, problems)[0]


def _resolve(schema: type[_T], assignments: list[tuple[str, str, Any]], problems: list[str]) -> tuple[_T, str]:
    """Set the values and build; what was found wrong before is reported with what is found here."""
    config: DictConfig = OmegaConf.structured(schema)
    _unlock(config)
    for source, key, value in assignments:
        try:
            OmegaConf.update(config, key, value, merge=isinstance(value, dict) and bool(value))
        except OmegaConfBaseException as error:
            problems.append(f"{source}: {key}: {str(error).splitlines()[0]}")
    built = _build(config, schema, problems)
    if problems or built is None:
        raise ConfigError(problems, title="configuration")
    return built, OmegaConf.to_yaml(config, resolve=True)


def _unlock(config: DictConfig) -> None:
    """OmegaConf marks the nodes of frozen dataclasses read-only; values are set here, then frozen again as built."""
    OmegaConf.set_readonly(config, value=False)
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
        nested = _value(text, kind=dict(_known(schema)).get(key))
        for part in reversed(key.split(".")):
            nested = {part: nested}
        found.extend(_leaves(nested, schema, source="command line", problems=problems))
    return found


def _leaves(
    values: Mapping[Any, Any],
    schema: type,
    *,
    source: str,
    problems: list[str],
    prefix: str = "",
    root: type | None = None,
) -> Iterator[tuple[str, str, Any]]:
    """Dotted keys and values down to what the schema calls a value; unknown keys become problems."""
    root = root or schema
    known = get_type_hints(schema)
    for name, value in values.items():
        key = f"{prefix}{name}"
        if name not in known:
            problems.append(f"{source}: unknown key {key}{_hint(str(name), known, prefix=prefix, root=root)}")
        elif is_dataclass(known[name]) and isinstance(value, Mapping):
            section: Any = known[name]
            yield from _leaves(value, section, source=source, problems=problems, prefix=f"{key}.", root=root)
        elif is_dataclass(known[name]):
            problems.append(f"{source}: {key} is a section, found {value!r}")
        elif isinstance(value, Mapping):
            yield from _mapping(value, known[name], source=source, problems=problems, key=key)
        else:
            yield source, key, value


def _known(schema: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key that has a value, with its type."""
    for name, kind in get_type_hints(schema).items():
        if is_dataclass(kind) and isinstance(kind, type):
            yield from _known(kind, prefix=f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind


def _hint(name: str, here: Iterable[str], *, prefix: str, root: type) -> str:
    """What an unknown key was probably meant to be: the same word in another section, then a close one, here first."""
    dotted = [key for key, _ in _known(root)]
    words = {key: key.rpartition(".")[2] for key in dotted}
    meant = [key for key in dotted if words[key] == name]
    if not meant:
        meant = [f"{prefix}{near}" for near in difflib.get_close_matches(name, here, n=1)]
    if not meant:
        near_words = difflib.get_close_matches(name, set(words.values()), n=1)
        meant = [key for key in dotted if words[key] in near_words]
    return f", did you mean {' or '.join(meant)}?" if meant else f"; known here: {', '.join(here)}"


def _value(text: str, *, kind: Any) -> Any:
    """What an override's text says: YAML, but a word stays the word as typed (a name such as 007 or 2026-01-31)."""
    try:
        value: Any = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # ValueError: a date that the calendar lacks
        return text
    return text if kind is str and not isinstance(value, str) else value


def _mapping(
    value: Mapping[Any, Any], kind: Any, *, source: str, problems: list[str], key: str
) -> Iterator[tuple[str, str, Any]]:
    """A free mapping (hospital names, for example) is one value; anywhere else a mapping is a mistake."""
    if getattr(kind, "__origin__", None) is dict:
        yield source, key, dict(value)
    else:
        problems.append(f"{source}: {key} is a single value, found the keys {', '.join(map(str, value))}")


def _build(config: DictConfig, schema: type[_T], problems: list[str], prefix: str = "") -> _T | None:
    """Make each section by itself, so that one section's problem does not hide another's.

    Where a field or a section cannot be had, its default stands in to find what else is wrong.
    """
    before = len(problems)
    values: dict[str, Any] = {}
    for item in fields(schema):  # type: ignore[arg-type]
        found = len(problems)
        value = _field(config, item, get_type_hints(schema)[item.name], problems, prefix=prefix)
        if len(problems) == found:
            values[item.name] = value
        elif item.default is MISSING and item.default_factory is MISSING:
            return None
    try:
        made = schema(**values)
    except ConfigError as error:
        problems.extend(error.problems)
    return made if len(problems) == before else None


def _field(config: DictConfig, item: Field[Any], kind: Any, problems: list[str], *, prefix: str) -> Any:
    """One field's value; what is wrong with it becomes problems."""
    key = f"{prefix}{item.name}"
    try:
        node = OmegaConf.select(config, item.name, throw_on_missing=True)
        if is_dataclass(kind) and isinstance(kind, type):
            return _build(node, kind, problems, prefix=f"{key}.")
        value = OmegaConf.to_object(node) if OmegaConf.is_config(node) else node
    except OmegaConfBaseException as error:
        problems.append(f"{key}: {str(error).splitlines()[0]}")
        return None
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(f"{key} must be a finite number, got {value}")
    return value
