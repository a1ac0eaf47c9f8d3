"""Splits are by patient, by hash, and stay when rows are added."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.manifest import Manifest, Record
from core.data.splits import SPLITS, split_of, split_patients
from core.errors import ConfigError, DataError

ORGANS = ("breast", "liver", "unknown")
ROWS = st.lists(st.tuples(st.sampled_from(ORGANS), st.integers(0, 40)), max_size=60)


def manifest_of(rows: list[tuple[str, int]], split: str = "") -> Manifest:
    """One patient may have frames of several organs."""
    records = (
        Record(image=Path(f"/{number}.png"), organ=organ, patient=f"p{patient}", split=split, row=number + 2)
        for number, (organ, patient) in enumerate(rows)
    )
    return Manifest(path=Path("m.csv"), records=tuple(records))


def test_shares_come_out_as_asked() -> None:
    splits = [split_of(f"p{number}", seed=1, test=0.2, validation=0.1) for number in range(10_000)]
    # Standard deviation of a count: sqrt(10000 * 0.2 * 0.8) = 40; five of them are 200.
    assert splits.count("test") == pytest.approx(2000, abs=200)
    assert splits.count("validation") == pytest.approx(1000, abs=150)


def test_a_larger_test_share_keeps_every_test_patient() -> None:
    for number in range(500):
        if split_of(f"p{number}", seed=1, test=0.1, validation=0.1) == "test":
            assert split_of(f"p{number}", seed=1, test=0.2, validation=0.1) == "test"


def test_another_seed_gives_another_split() -> None:
    def of(seed: int) -> list[str]:
        return [split_of(f"p{number}", seed=seed, test=0.5, validation=0) for number in range(64)]

    assert of(1) != of(2)


@pytest.mark.parametrize(("test", "validation"), [(-0.1, 0.1), (0.5, 0.5), (1.0, 0.0), (float("nan"), 0.0)])
def test_shares_out_of_range_are_a_config_error(test: float, validation: float) -> None:
    with pytest.raises(ConfigError):
        split_patients(manifest_of([]), seed=1, test=test, validation=validation)


@given(before=ROWS, added=ROWS, seed=st.integers(0, 2**40))
def test_added_rows_move_nobody_but_for_promotions(before: list, added: list, seed: int) -> None:
    """A patient leaves the part that the hash says only through promotion, before or after."""
    old = split_patients(manifest_of(before), seed=seed, test=0.2, validation=0.2)
    new = split_patients(manifest_of(before + added), seed=seed, test=0.2, validation=0.2)
    hashed = {patient: split_of(patient, seed=seed, test=0.2, validation=0.2) for patient in new}
    moved = [patient for patient in old if old[patient] != new[patient]]
    assert all(old[patient] != hashed[patient] or new[patient] != hashed[patient] for patient in moved)
    # One promotion an organ and held-out part at most: two organs, two parts, two manifests.
    assert sum(old[patient] != hashed[patient] for patient in old) <= 4
    assert sum(new[patient] != hashed[patient] for patient in new) <= 4


@given(rows=ROWS, seed=st.integers(0, 2**40))
def test_the_order_of_rows_does_not_matter(rows: list, seed: int) -> None:
    forward = split_patients(manifest_of(rows), seed=seed, test=0.2, validation=0.1)
    assert forward == split_patients(manifest_of(rows[::-1]), seed=seed, test=0.2, validation=0.1)


@given(count=st.integers(3, 8), seed=st.integers(0, 2**40))
def test_an_organ_of_three_patients_is_measurable(count: int, seed: int) -> None:
    manifest = manifest_of([("liver", number) for number in range(count)])
    splits = split_patients(manifest, seed=seed, test=0.4, validation=0.1)
    assert {"test", "validation"} <= set(splits.values())
    hashed = {split_of(patient, seed=seed, test=0.4, validation=0.1) for patient in splits}
    assert hashed <= set(splits.values())  # promotion never empties another part


@given(seed=st.integers(0, 2**40))
def test_an_organ_of_two_patients_gets_none_promoted(seed: int) -> None:
    splits = split_patients(manifest_of([("liver", 0), ("liver", 1)]), seed=seed, test=0.2, validation=0.2)
    assert splits == {patient: split_of(patient, seed=seed, test=0.2, validation=0.2) for patient in splits}


def test_the_lowest_hash_is_promoted() -> None:
    """With a tiny share the hash puts nobody into test; the nearest is whom a larger share takes first."""
    patients = range(20)
    splits = split_patients(manifest_of([("liver", number) for number in patients]), seed=7, test=1e-9, validation=0)
    share = 0.0
    first: list[str] = []
    while not first:
        share += 0.001
        first = [f"p{n}" for n in patients if split_of(f"p{n}", seed=7, test=share, validation=0) == "test"]
    assert [patient for patient, part in splits.items() if part == "test"] == first


def test_no_share_means_no_promotion() -> None:
    splits = split_patients(manifest_of([("liver", number) for number in range(9)]), seed=1, test=0, validation=0)
    assert set(splits.values()) == {"train"}


@pytest.mark.parametrize("part", SPLITS)
def test_the_manifest_wins(part: str) -> None:
    rows = [("liver", number) for number in range(9)]
    splits = split_patients(manifest_of(rows, split=part), seed=1, test=0.3, validation=0.3)
    assert set(splits.values()) == {part}


def test_a_word_that_is_no_split_is_named_with_its_row_and_remedy() -> None:
    with pytest.raises(DataError, match=r"rows 2-3: split 'val' is not known; did you mean 'validation'\?"):
        split_patients(manifest_of([("liver", 1), ("liver", 2)], split="val"), seed=1, test=0.1, validation=0.1)


def test_a_patient_in_two_splits_is_refused() -> None:
    rows = manifest_of([("liver", 1)], split="test").records + manifest_of([("eye", 1)], split="train").records
    with pytest.raises(DataError, match="patient 'p1' is in test and train"):
        split_patients(Manifest(path=Path("m.csv"), records=rows), seed=1, test=0.1, validation=0.1)
