"""Names that other people choose and that become file names, certificate subjects and log entries here."""

import re

from core.errors import SecurityError

SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""A hospital or a study: never a path, never hidden, and short enough for a certificate's common name (64)."""
DIGEST = re.compile(r"[0-9a-f]{64}")
"""SHA-256 in hexadecimal."""


def is_name(value: object) -> bool:
    """Whether this is a site's or a study's name."""
    return isinstance(value, str) and SITE_NAME.fullmatch(value) is not None


def is_digest(value: object) -> bool:
    """Whether this is a SHA-256 in lower-case hexadecimal."""
    return isinstance(value, str) and DIGEST.fullmatch(value) is not None


def is_whole(value: object) -> bool:
    """Whether this is a whole number in [0, 2^53), which every reader of JSON keeps exactly; a bool is none."""
    return type(value) is int and 0 <= value < 2**53


def check_name(value: object, *, what: str) -> str:
    """The name, or SecurityError: `what` says whose it should be."""
    if not is_name(value):
        raise SecurityError(
            f"{what}: {shown(value)} is no name; take 1 to 64 letters, digits, '_', '.' or '-', the first of them a "
            "letter or a digit"
        )
    return str(value)


def shown(value: object, *, longest: int = 80) -> str:
    """A foreign value as a message may show it: printable, in one line, cut at `longest` characters."""
    text = ascii(value)
    return text if len(text) <= longest else f"{text[:longest]}..."
