"""A contact sheet: many small pictures with their captions on one page, to look over what a model predicted."""

from collections.abc import Sequence
from typing import NamedTuple

from core.evaluation.report_page import bullets, page, section, text

ACROSS, NARROW = 4, 2
"""Pictures side by side on a screen and on a phone."""


class Cell(NamedTuple):
    """One picture."""

    caption: str
    address: str
    """A `data:` address."""


def sheet(*, title: str, lead: Sequence[str], cells: Sequence[Cell], notes: Sequence[str]) -> str:
    """The page as text; every name is escaped.

    Args:
        title: The heading.
        lead: Sentences above the pictures.
        cells: The pictures, in order.
        notes: What a reader must know beside, a sentence each.
    """
    rows = [cells[start : start + ACROSS] for start in range(0, len(cells), ACROSS)]
    body = [
        f"<h1>{text(title)}</h1>",
        *(f"<p>{text(sentence)}</p>" for sentence in lead),
        section("Read this first", bullets(notes)),
        section("Pictures", *(_row(row) for row in rows)),
    ]
    return page(title=title, body="\n".join(part for part in body if part))


def _row(cells: Sequence[Cell]) -> str:
    inner = "".join(
        f'<div><img src="{text(cell.address)}" alt="{text(cell.caption)}" style="object-fit: contain">'
        f"{text(cell.caption)}</div>"
        for cell in cells
    )
    return f'<div class="row" style="--n: {ACROSS}; --m: {NARROW}">{inner}</div>'
