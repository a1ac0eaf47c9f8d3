"""Reading `metrics.json` of a run that may be damaged, cut off, or of another version of this code.

Readers of the document rely on the types that are checked here. A field may be absent: older runs lack the newer ones.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from core.errors import CheckpointError, ConfigError

SCHEMA_VERSION = 1
MOST_NAMED = 5
"""Problems that a message lists."""

Check = Callable[[Any, str], Iterator[str]]
"""(value, its place) -> sentences that say what is wrong."""


def read_metrics(path: Path) -> dict[str, Any]:
    """The content of a `metrics.json`.

    Raises:
        ConfigError: There is no such file.
        CheckpointError: It is damaged, of another schema version, or not what a run writes.
    """
    try:
        content = json.loads(path.read_bytes(), parse_constant=_no_number)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} is not there; give the folder of a run that has ended (--resume ends one that was stopped)"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); run again, or copy the file again") from error
    found = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(content, dict) and found != SCHEMA_VERSION:
        raise CheckpointError(
            f"{path}: schema version {found}, this code reads {SCHEMA_VERSION}; use the matching version"
        )
    problems = [problem for problem, _ in zip(_DOCUMENT(content, "the document"), range(MOST_NAMED), strict=False)]
    if problems:
        raise CheckpointError(f"{path}: not what a run writes ({'; '.join(problems)}); copy the file again")
    return dict(content)


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _number(value: Any, place: str) -> Iterator[str]:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (known and abs(value) < 1e300 and math.isfinite(value)):
        yield f"{place} is no number"


def _text(value: Any, place: str) -> Iterator[str]:
    if value is not None and not isinstance(value, str):
        yield f"{place} is no text"


def _flag(value: Any, place: str) -> Iterator[str]:
    if value is not None and not isinstance(value, bool):
        yield f"{place} is neither true nor false"


def _list_of(check: Check) -> Check:
    def run(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{place} is no list"
            return
        for position, item in enumerate(value):
            yield from check(item, f"{place}[{position}]")

    return run


def _pair(value: Any, place: str) -> Iterator[str]:
    if not isinstance(value, list) or len(value) != 2 or None in value:
        yield f"{place} is no pair of numbers"
        return
    for item in value:
        yield from _number(item, place)


def _mapping_of(check: Check) -> Check:
    def run(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{place} holds no names and values"
            return
        for name, item in value.items():
            yield from check(item, f"{place}.{name}")

    return run


def _record(fields: Mapping[str, Check], *, required: tuple[str, ...] = ()) -> Check:
    def run(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{place} holds no names and values"
            return
        for name in required:
            if value.get(name) is None:
                yield f"{place}.{name} is missing"
        for name, check in fields.items():
            if name in value:
                yield from check(value[name], f"{place}.{name}")

    return run


_VALUE = {"value": _number, "low": _number, "high": _number, "reason": _text}
_SCORE = _record({"mean": _number, "low": _number, "high": _number, "reason": _text, "classes": _number})
_ARM = _record(
    {
        "held_out_loss": _mapping_of(_number),
        "held_out_curve": _list_of(_pair),
        "tasks": _mapping_of(_mapping_of(_SCORE)),
        "images": _number,
        "seconds": _number,
        "role": _text,
    }
)
_GAP = _record(_VALUE)
_GAIN = _record({**_VALUE, "tasks": _list_of(_text)})
_SEED = _record({"arms": _mapping_of(_ARM), "gap_closed": _GAP, "gap_closed_fedavg": _GAP})
_DOCUMENT = _record(
    {
        "name": _text,
        "code_version": _text,
        "arms": _mapping_of(_ARM),
        "seeds": _list_of(_number),
        "by_seed": _mapping_of(_SEED),
        "rarest": _list_of(_text),
        "comparisons": _mapping_of(_record({**_VALUE, "unit": _text, "meaning": _text})),
        "gap_closed": _GAP,
        "gap_closed_fedavg": _GAP,
        "gain_kept": _GAIN,
        "gain_kept_fedavg": _GAIN,
        "mix": _mapping_of(_number),
        "rounds": _number,
        "complete": _flag,
        "reference": _text,
        "timing": _mapping_of(_number),
        "bytes": _mapping_of(_number),
        "final_hash": _text,
        "plan": _text,
        "licences": _mapping_of(_number),
        "limits": _list_of(_text),
    },
    required=("name", "arms"),
)
