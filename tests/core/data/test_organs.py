"""The vocabulary is complete, well formed, and helps whoever misspells it."""

import re
from importlib.resources import files

import pytest
import yaml

from core.data.organs import UNKNOWN, organ_names, suggest


def test_every_name_is_snake_case_and_unique() -> None:
    names = organ_names()
    lines = (files("configs") / "organs.yaml").read_text(encoding="utf-8").splitlines()
    written = [line.split(":")[0] for line in lines if line and not line.startswith("#")]
    assert sorted(written) == list(names)  # YAML would silently let a second entry win
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)


def test_every_organ_says_what_it_is_and_no_synonym_is_ambiguous() -> None:
    entries = yaml.safe_load((files("configs") / "organs.yaml").read_text(encoding="utf-8"))
    assert all(entry["about"] and set(entry) <= {"about", "also"} for entry in entries.values())
    words = [*entries, *(word for entry in entries.values() for word in entry["also"])]
    assert len(words) == len(set(words))


def test_unknown_is_no_organ() -> None:
    assert UNKNOWN not in organ_names()


@pytest.mark.parametrize(
    "organ",
    [
        *("breast", "thyroid", "liver", "kidney", "heart", "lung", "carotid", "muscle", "nerve", "placenta", "ovary"),
        *("fetal_head", "fetal_body", "fetal_abdomen", "fetal_heart", "uterus", "prostate", "gallbladder", "pancreas"),
        *("spleen", "bladder", "stomach", "bowel", "lymph_node", "skin", "eye", "brain"),
    ],
)
def test_what_the_large_collections_hold_has_a_name(organ: str) -> None:
    assert organ in organ_names()


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("brest", "breast"),
        ("Breast", "breast"),
        ("Fetal Head", "fetal_head"),
        ("lymph-node", "lymph_node"),
        ("kidneys", "kidney"),
        ("renal", "kidney"),
        ("CCA", "carotid"),
        ("Unknown", UNKNOWN),
        ("xylophone", None),
        ("", None),
    ],
)
def test_a_misspelling_or_synonym_finds_its_organ(word: str, meant: str | None) -> None:
    assert suggest(word) == meant
