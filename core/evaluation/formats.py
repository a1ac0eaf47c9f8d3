"""Numbers as people read them; a missing or non-finite one is a dash."""

import math
from collections.abc import Callable, Mapping
from typing import Any

NONE = "–"  # en dash


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def loss(value: Any) -> str:
    """A loss with three decimals; a very small or large one with three digits that count."""
    if not _finite(value):
        return NONE
    return f"{value:.3f}" if value == 0 or 0.01 <= abs(value) < 1000 else f"{value:.3g}"


def difference(value: Any) -> str:
    """A difference of losses or scores with its sign and three decimals; a very small one with one digit."""
    if not _finite(value):
        return NONE
    return f"{value:+.3f}" if value == 0 or abs(value) >= 0.0005 else f"{value:+.1g}"


def share(value: Any) -> str:
    """A share in [0, 1] as a score: two decimals."""
    return f"{value:.2f}" if _finite(value) else NONE


def percent(value: Any) -> str:
    """A share as a whole percentage; below one percent with a decimal, so that it does not look like none."""
    if not _finite(value):
        return NONE
    return f"{100 * value:.{1 if 0 < abs(value) < 0.01 else 0}f}%"


def bounds(score: Mapping[str, Any] | None) -> str:
    """The interval of a probe score, or nothing."""
    low, high = (score or {}).get("low"), (score or {}).get("high")
    return f"{share(low)} to {share(high)}" if _finite(low) and _finite(high) else ""


def with_interval(score: Mapping[str, Any] | None, show: Callable[[Any], str], *, key: str = "value") -> str:
    """A value and, where it has one, its interval in brackets; `key` is where the value stands."""
    found = score or {}
    low, high = found.get("low"), found.get("high")
    interval = f" ({show(low)} to {show(high)})" if _finite(low) and _finite(high) else ""
    return show(found.get(key)) + interval


def count(value: Any) -> str:
    """A whole number with thousands apart."""
    return f"{value:,.0f}" if _finite(value) else NONE


def seconds(value: Any) -> str:
    """A duration: seconds below two minutes, minutes below two hours, else hours."""
    if not _finite(value):
        return NONE
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def size(value: Any) -> str:
    """A number of bytes in decimal units."""
    if not _finite(value):
        return NONE
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def words(name: str) -> str:
    """`fetal_head` as a heading: fetal head."""
    return name.replace("_", " ")
