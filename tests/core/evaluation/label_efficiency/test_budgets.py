"""Budgets of labelled patients: nested, stratified, never on both sides, never rounded up."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.manifest import Manifest, Record
from core.data.splits import split_patients
from core.errors import ConfigError
from core.evaluation.label_efficiency.budgets import (
    Undefined,
    budget_label,
    budget_order,
    nested_budgets,
    strata_of,
    stratified_order,
)

ROWS = st.lists(
    st.tuples(st.sampled_from(("breast", "liver", "unknown")), st.integers(0, 60), st.sampled_from(("", "a", "b"))),
    max_size=80,
)
STRATA = st.dictionaries(st.text(min_size=1, max_size=4), st.sampled_from("abcd"), max_size=60)
BUDGETS = st.lists(st.integers(1, 70) | st.just("all"), unique=True, max_size=6)
SEEDS = st.integers(0, 2**40)


def manifest_of(rows: list[tuple[str, int, str]]) -> Manifest:
    """A patient may have frames of several organs and labels."""
    records = (
        Record(image=Path(f"/{number}.png"), organ=organ, patient=f"p{patient}", label=label, row=number + 2)
        for number, (organ, patient, label) in enumerate(rows)
    )
    return Manifest(path=Path("m.csv"), records=tuple(records))


@given(rows=ROWS, budgets=BUDGETS, seed=SEEDS, test=st.floats(0, 0.5), validation=st.floats(0, 0.4))
def test_no_patient_is_on_both_sides_for_any_manifest(
    rows: list, budgets: list, seed: int, test: float, validation: float
) -> None:
    manifest = manifest_of(rows)
    splits = split_patients(manifest, seed=seed, test=test, validation=validation)
    strata = strata_of((r.patient, r.label) for r in manifest.records if splits[r.patient] == "train")
    assert set(strata) == {patient for patient, part in splits.items() if part == "train"}
    for patients in nested_budgets(strata, budgets=budgets, seed=seed).values():
        if not isinstance(patients, Undefined):
            held_out = {record.patient for record in manifest.records if splits[record.patient] != "train"}
            assert patients
            assert held_out.isdisjoint(patients)


@given(strata=STRATA, budgets=BUDGETS, seed=SEEDS)
def test_budgets_are_nested_and_hold_exactly_what_was_asked_for(strata: dict, budgets: list, seed: int) -> None:
    found = nested_budgets(strata, budgets=budgets, seed=seed)
    assert list(found) == budgets
    smaller: set[str] = set()
    for budget in sorted(budgets, key=budget_order):
        patients = found[budget]
        wanted = len(strata) if budget == "all" else budget
        if not strata or wanted > len(strata):
            assert isinstance(patients, Undefined)
            continue
        assert not isinstance(patients, Undefined)
        assert len(patients) == len(set(patients)) == wanted  # no patient twice
        assert smaller <= set(patients) <= set(strata)
        smaller = set(patients)


@given(strata=STRATA, seed=SEEDS)
def test_every_beginning_has_the_strata_in_proportion(strata: dict, seed: int) -> None:
    order, sizes, taken = stratified_order(strata, seed=seed), Counter(strata.values()), Counter[str]()
    assert sorted(order) == sorted(strata)
    for place, patient in enumerate(order, 1):
        taken[strata[patient]] += 1
        for name, size in sizes.items():
            # |taken - place * share| <= (1 + share * (S - 2)) / 2, times 2 N to stay with whole numbers
            assert 2 * abs(taken[name] * len(strata) - place * size) <= len(strata) + size * (len(sizes) - 2)


@given(strata=STRATA, first=SEEDS, second=SEEDS)
def test_the_seed_decides_who_and_never_how_many_of_a_stratum(strata: dict, first: int, second: int) -> None:
    orders = [stratified_order(strata, seed=seed) for seed in (first, second)]
    assert [strata[patient] for patient in orders[0]] == [strata[patient] for patient in orders[1]]
    backwards = dict(reversed(strata.items()))
    assert stratified_order(backwards, seed=first) == orders[0]


def test_another_seed_labels_other_patients() -> None:
    strata = {f"p{number}": "" for number in range(64)}
    assert stratified_order(strata, seed=1) != stratified_order(strata, seed=2)


def test_three_of_four_are_benign_in_every_budget() -> None:
    strata = {f"b{number}": "benign" for number in range(30)} | {f"m{number}": "malignant" for number in range(10)}
    found = nested_budgets(strata, budgets=[4, 8, 32, "all"], seed=3, classes=("benign", "malignant"))
    counts = [Counter(strata[patient] for patient in patients)["malignant"] for patients in found.values()]
    assert counts == [1, 2, 8, 10]  # a quarter of 4, 8, 32 and 40


def test_a_class_without_a_patient_leaves_the_budget_undefined_and_is_not_rounded_up() -> None:
    strata = {f"b{number}": "benign" for number in range(39)} | {"m": "malignant"}
    found = nested_budgets(strata, budgets=[8, 19, 20], seed=0, classes=("benign", "malignant"))
    # The one malignant patient stands at (0 + 1/2) / 1, as does the 20th benign one at (19 + 1/2) / 39.
    assert found[8] == Undefined("of 8 patients none is of class malignant")
    assert found[19] == Undefined("of 19 patients none is of class malignant")
    assert found[20][-1] == "m"  # type: ignore[index]
    never = nested_budgets({"x": "benign"}, budgets=["all"], seed=0, classes=("benign", "in_between"))
    assert never["all"] == Undefined("of 1 patient none is of class in between")


def test_a_budget_above_the_patients_is_undefined() -> None:
    found = nested_budgets({"x": "", "y": ""}, budgets=[2, 3], seed=0)
    assert found[2] in (["x", "y"], ["y", "x"])
    assert found[3] == Undefined("3 patients asked for, 2 are labelled")
    assert nested_budgets({}, budgets=["all"], seed=0)["all"] == Undefined("no training patient is labelled")


def test_a_patient_with_several_labels_counts_as_the_most_frequent() -> None:
    pairs = [("p2", "b"), ("p2", "a"), ("p1", "b"), ("p1", "a"), ("p1", "b")]
    assert strata_of(pairs) == {"p1": "b", "p2": "a"}


@pytest.mark.parametrize("budgets", [[0], [-3], [True], [2.5], ["some"], [None]])
def test_what_is_no_budget_is_a_config_error(budgets: list) -> None:
    with pytest.raises(ConfigError, match="must be a whole number of patients"):
        nested_budgets({"x": ""}, budgets=budgets, seed=0)


def test_a_budget_twice_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="8 is listed twice"):
        nested_budgets({"x": ""}, budgets=[8, 8], seed=0)


def test_labels() -> None:
    assert [budget_label(one) for one in (1, 8, "all")] == ["1 patient", "8 patients", "all patients"]
