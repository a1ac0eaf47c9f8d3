"""Markdown of results pages: a table, a list, and text in which no name can become markup."""

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def plain(value: object) -> str:
    """A value as Markdown text in one line; characters that Markdown would read are escaped."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, words: Iterable[int] = ()) -> str:
    """A table; the first column and those of `words` to the left, numbers to the right. Nothing where no row is."""
    lines = ["| " + " | ".join(plain(cell) for cell in row) + " |" for row in rows]
    if not lines:
        return ""
    left = {0, *words}
    top = "| " + " | ".join(plain(cell) for cell in head) + " |"
    rule = "|" + "|".join("---" if column in left else "---:" for column in range(len(head))) + "|"
    return "\n".join([top, rule, *lines])


def bullets(items: Iterable[object]) -> str:
    """A list, an item a line."""
    return "\n".join(f"* {plain(item)}" for item in items)


def code(text: str, *, language: str = "") -> str:
    """A block of code; its fence is longer than any inside."""
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def section(title: str, *parts: str, level: int = 2) -> str:
    """A heading and what follows; nothing where every part is empty."""
    body = "\n\n".join(part for part in parts if part)
    return f"{'#' * level} {plain(title)}\n\n{body}" if body else ""


def page(title: str, *sections: str) -> str:
    """A whole document with a closing newline."""
    return "\n\n".join([f"# {plain(title)}", *(part for part in sections if part)]) + "\n"
