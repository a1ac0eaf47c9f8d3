"""The one way in which a document becomes the bytes that are signed or hashed.

Sorted keys, no blanks, ASCII, no fractions (two libraries may print one fraction differently). Bytes that are not what
`canonical` would write are refused, so that a document has one form only and a signature or a hash has one meaning.
"""

import json
from typing import Any

from core.errors import SecurityError

LONGEST = 64 * 1024
"""Bytes of a document from elsewhere."""
DEEPEST = 6
"""Lists and objects inside each other."""


def canonical(value: object) -> bytes:
    """The document's bytes; raises SecurityError for what has no canonical form."""
    if problem := _problem(value, DEEPEST):
        raise SecurityError(f"this has no canonical form: {problem}")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def parse(document: bytes, *, what: str, longest: int = LONGEST) -> dict[str, Any]:
    """An object from its canonical bytes; raises SecurityError naming `what` for anything else."""
    if len(document) > longest:
        raise SecurityError(f"{what}: {len(document)} bytes, more than the {longest} allowed; it is refused unread")
    try:
        value = json.loads(document.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise SecurityError(f"{what}: not JSON in ASCII; it was damaged or is something else") from error
    if not isinstance(value, dict) or _problem(value, DEEPEST) or canonical(value) != document:
        raise SecurityError(f"{what}: not in canonical form; it was edited, or written by another program")
    return value


def _problem(value: object, depth: int) -> str:
    """What keeps a value from having one form; empty when it has one."""
    if value is None or isinstance(value, str | bool | int):
        return ""
    if depth == 0:
        return f"more than {DEEPEST} levels"
    if isinstance(value, list | tuple):
        return next(filter(None, (_problem(item, depth - 1) for item in value)), "")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return "a key that is no text"
        return next(filter(None, (_problem(item, depth - 1) for item in value.values())), "")
    return f"a {type(value).__name__}"
