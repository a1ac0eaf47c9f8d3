"""Hospitals share out patients: each patient once, the mixes as asked, and clear refusals."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.manifest import Manifest, Record, load_manifest
from core.errors import ConfigError, DataError
from simulations.partition import PartitionConfig, case_mix_table, left_out, partition

REAL = Path(__file__).parents[3] / "shared/data/ultrasound/manifest.csv"
MIXES = {"clinic": {"breast": 3, "lung": 1}, "obstetrics": {"breast": 1, "fetal_head": 1}}


def manifest_of(counts: dict[str, int], site: str = "") -> Manifest:
    """So many patients an organ, two frames each."""
    patients = [(organ, number) for organ, count in counts.items() for number in range(count)]
    records = tuple(
        Record(image=Path(f"/{organ}{number}_{frame}.png"), organ=organ, patient=f"{organ}{number}", site=site)
        for organ, number in patients
        for frame in range(2)
    )
    return Manifest(path=Path("m.csv"), records=records)


@given(
    counts=st.dictionaries(st.sampled_from(["breast", "lung", "liver", "unknown"]), st.integers(1, 30), min_size=1),
    hospitals=st.integers(1, 5),
    seed=st.integers(0, 2**40),
)
def test_dirichlet_gives_every_patient_one_hospital_whatever_the_order(counts: dict, hospitals: int, seed: int) -> None:
    manifest = manifest_of(counts)
    settings = PartitionConfig(hospitals=hospitals, alpha=5.0)
    if sum(counts.values()) < 4 * hospitals:
        return
    parts = partition(manifest, settings=settings, seed=seed)
    assert list(parts) == [f"h0{number}" for number in range(1, hospitals + 1)]
    assert sorted(patient for patients in parts.values() for patient in patients) == sorted(
        {record.patient for record in manifest.records}
    )
    backwards = Manifest(path=manifest.path, records=manifest.records[::-1])
    assert partition(backwards, settings=settings, seed=seed) == parts
    assert left_out(parts, manifest) == {}


def test_a_small_alpha_makes_hospitals_unlike_and_a_large_one_alike() -> None:
    manifest = manifest_of({"breast": 200, "lung": 200, "liver": 200})

    def largest_share(alpha: float) -> float:
        parts = partition(manifest, settings=PartitionConfig(hospitals=4, alpha=alpha), seed=3)
        table = case_mix_table(parts, manifest)
        return max(count / 200 for row in table.values() for count in row.values())

    assert largest_share(1e5) == pytest.approx(0.25, abs=0.01)
    assert largest_share(0.1) > 0.6


def test_the_floor_is_kept_or_refused() -> None:
    manifest = manifest_of({"breast": 40, "lung": 40})
    parts = partition(manifest, settings=PartitionConfig(hospitals=4, alpha=0.3, floor=10), seed=1)
    assert min(map(len, parts.values())) >= 10
    with pytest.raises(DataError, match="always had fewer than 21 patients"):  # 80 patients: at most 20 each
        partition(manifest, settings=PartitionConfig(hospitals=4, alpha=0.3, floor=21), seed=1)


@pytest.mark.parametrize("alpha", [1e-9, 1e-3])
def test_a_vanishing_alpha_still_deals_everyone(alpha: float) -> None:
    manifest = manifest_of({"breast": 5, "lung": 5, "liver": 5})
    parts = partition(manifest, settings=PartitionConfig(hospitals=2, alpha=alpha), seed=1)
    assert sum(map(len, parts.values())) == 15


def test_mixes_share_out_each_organ_in_proportion() -> None:
    manifest = manifest_of({"breast": 8, "lung": 3, "fetal_head": 5, "liver": 2})
    parts = partition(manifest, settings=PartitionConfig(kind="mixes", mixes=MIXES), seed=1)
    # breast 3 : 1 of 8 is 6 and 2; lung and fetal head have one holder each; nobody asked for liver.
    assert case_mix_table(parts, manifest) == {
        "clinic": {"breast": 6, "fetal_head": 0, "liver": 0, "lung": 3},
        "obstetrics": {"breast": 2, "fetal_head": 5, "liver": 0, "lung": 0},
    }
    assert left_out(parts, manifest) == {"liver": 2}


def test_remainders_go_to_those_most_due() -> None:
    mixes = {"a": {"lung": 0.5}, "b": {"lung": 0.3}, "c": {"lung": 0.2}}
    parts = partition(manifest_of({"lung": 7}), settings=PartitionConfig(kind="mixes", mixes=mixes), seed=1)
    # 3.5, 2.1, 1.4: floors 3, 2, 1 and the one left goes to the largest remainder, 0.5.
    assert [len(patients) for patients in parts.values()] == [4, 2, 1]


@given(
    shares=st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda shares: sum(shares) > 1e-3),
    count=st.integers(10, 60),
)
def test_no_hospital_is_a_whole_patient_off_its_share(shares: list[float], count: int) -> None:
    mixes = {f"h{number}": {"lung": share, "eye": 1.0} for number, share in enumerate(shares)}
    manifest = manifest_of({"lung": count, "eye": 6})  # an eye for everyone, so that the floor is kept
    table = case_mix_table(partition(manifest, settings=PartitionConfig(kind="mixes", mixes=mixes), seed=1), manifest)
    for row, share in zip(table.values(), shares, strict=True):
        assert abs(row["lung"] - count * share / sum(shares)) < 1 + 1e-9
    assert sum(row["lung"] for row in table.values()) == count


def test_the_column_is_taken_as_it_is() -> None:
    records = manifest_of({"lung": 2}, site="north").records + manifest_of({"eye": 1}, site="south").records
    manifest = Manifest(path=Path("m.csv"), records=records)
    parts = partition(manifest, settings=PartitionConfig(kind="column"), seed=1)
    assert parts == {"north": ("lung0", "lung1"), "south": ("eye0",)}


def test_a_patient_of_several_organs_stays_whole_and_counts_under_each() -> None:
    frames = [("lung", 1), ("lung", 2), ("heart", 3)]
    records = tuple(Record(image=Path(f"/{n}.png"), organ=organ, patient="p") for organ, n in frames)
    manifest = Manifest(path=Path("m.csv"), records=records)
    mixes = {"only": {"lung": 1.0}}  # two lung frames against one of the heart: a lung patient
    parts = partition(manifest, settings=PartitionConfig(kind="mixes", mixes=mixes), seed=1)
    assert case_mix_table(parts, manifest) == {"only": {"heart": 1, "lung": 1}}


def test_fewer_patients_than_hospitals_are_refused() -> None:
    with pytest.raises(DataError, match="3 patients cannot be divided among 4 hospitals"):
        partition(manifest_of({"lung": 3}), settings=PartitionConfig(hospitals=4), seed=1)


@pytest.mark.parametrize("kind", ["column", "mixes"])
def test_hospitals_below_the_floor_are_all_named(kind: str) -> None:
    records = manifest_of({"breast": 4}, site="a").records + manifest_of({"lung": 4}, site="b").records
    manifest = Manifest(path=Path("m.csv"), records=records)
    settings = PartitionConfig(kind=kind, floor=5, mixes={"a": {"breast": 1.0}, "b": {"lung": 1.0}})
    with pytest.raises(DataError) as caught:
        partition(manifest, settings=settings, seed=1)
    assert len(caught.value.problems) == 2
    assert "hospital 'a' has 4 patients, fewer than the floor of 5" in caught.value.problems[0]


def test_a_patient_in_two_sites_and_an_image_without_one_are_refused() -> None:
    one, two = manifest_of({"lung": 1}, site="a"), manifest_of({"lung": 1}, site="b")
    nowhere = manifest_of({"eye": 1})
    manifest = Manifest(path=Path("m.csv"), records=one.records + two.records + nowhere.records)
    with pytest.raises(DataError) as caught:
        partition(manifest, settings=PartitionConfig(kind="column"), seed=1)
    text = "\n".join(caught.value.problems)
    assert "patient 'lung0' is in sites a, b" in text
    assert "'site' is empty" in text


def test_a_word_in_a_mix_that_is_no_organ_is_refused_with_its_likeness() -> None:
    settings = PartitionConfig(kind="mixes", mixes={"a": {"brest": 1.0, "lung": 1.0, "banjo": 1.0}})
    with pytest.raises(DataError) as caught:
        partition(manifest_of({"lung": 3}), settings=settings, seed=1)
    assert "did you mean 'breast'" in caught.value.problems[0]
    assert "'banjo' is no organ" in caught.value.problems[1]


def test_every_field_is_checked_and_all_are_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        PartitionConfig(
            kind="magic", hospitals=0, alpha=0, floor=0, mixes={"a": {"lung": -1}, "b": {"eye": float("nan")}}
        )
    assert len(caught.value.problems) == 6
    with pytest.raises(ConfigError, match="mixes is empty"):
        PartitionConfig(kind="mixes")


@pytest.mark.skipif(not REAL.exists(), reason="the real images are not on this machine")
def test_the_real_images_make_hospitals_of_very_different_sizes() -> None:
    manifest = load_manifest(REAL)
    mixes = {
        "obstetrics": {"fetal_head": 0.9},
        "breast_clinic": {"breast": 0.8},
        "general": {"fetal_head": 0.1, "breast": 0.2, "lung": 0.4, "carotid": 0.3, "muscle": 0.3},
        "intensive_care": {"lung": 0.6},
        "vascular": {"carotid": 0.7, "muscle": 0.7},
    }
    parts = partition(manifest, settings=PartitionConfig(kind="mixes", mixes=mixes, floor=5), seed=1)
    table = case_mix_table(parts, manifest)
    for organ, patients in manifest.patients_by_organ().items():
        assert sum(row[organ] for row in table.values()) == patients
    sizes = sorted(map(len, parts.values()))
    assert sizes[-1] > 5 * sizes[0]
