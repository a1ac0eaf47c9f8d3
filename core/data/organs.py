"""The organ vocabulary, read from `configs/organs.yaml`."""

import difflib
from functools import cache
from importlib.resources import files

import yaml

UNKNOWN = "unknown"
"""Valid in a manifest, never drawn and never counted."""


@cache
def _vocabulary() -> dict[str, tuple[str, ...]]:
    """Organ name -> other words for it."""
    text = (files("configs") / "organs.yaml").read_text(encoding="utf-8")
    return {name: tuple(entry.get("also", ())) for name, entry in yaml.safe_load(text).items()}


def organ_names() -> tuple[str, ...]:
    """Every organ that a manifest may name, in snake_case, sorted; without `unknown`."""
    return tuple(sorted(_vocabulary()))


def suggest(word: str) -> str | None:
    """The organ that `word` was probably meant to be, or None; misspellings and synonyms are looked up."""
    folded = "_".join(word.casefold().replace("-", " ").replace("_", " ").split())
    meanings = {other: name for name, others in _vocabulary().items() for other in others}
    meanings |= {name: name for name in (*organ_names(), UNKNOWN)}
    close = difflib.get_close_matches(folded, meanings, n=1, cutoff=0.7)
    return meanings[close[0]] if close else None
