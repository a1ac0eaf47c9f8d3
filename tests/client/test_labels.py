"""Who takes part in a task, in which part, and what is said where nobody can."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.labels import cached_side, counts, prepare_labels
from core.data.labelled import Labelled, why_unused
from core.data.manifest import Manifest, Record, load_manifest
from core.errors import DataError
from core.training.task import Task

IMAGE = Record(image=Path("/i.png"), organ="breast", patient="p", mask=Path("/m.png"), label="cyst", dataset="busi")
SORT = Task(kind="classification", classes=["cyst", "viral|bacterial"])


@pytest.mark.parametrize(
    ("task", "record", "reason"),
    [
        (Task(dataset="busi", organ="breast"), IMAGE, ""),
        (Task(dataset="other"), IMAGE, "not of data set other"),
        (Task(organ="liver"), IMAGE, "not of organ liver"),
        (Task(), replace(IMAGE, mask=None), "without a mask"),
        (SORT, replace(IMAGE, mask=None, label="bacterial"), ""),
        (SORT, replace(IMAGE, label="viral|bacterial"), "of no class of the task (label viral|bacterial)"),
        (SORT, replace(IMAGE, label=""), "of no class of the task (label empty)"),
        (Task(kind="enhancement"), replace(IMAGE, mask=None, label=""), ""),
    ],
)
def test_a_row_is_used_or_the_reason_is_given(task: Task, record: Record, reason: str) -> None:
    assert why_unused(task, record) == reason


def test_parts_hold_all_images_of_their_patients_and_follow_the_split_column(
    hospital_manifest: Path, tmp_path: Path
) -> None:
    whole = load_manifest(hospital_manifest)
    made = prepare_labels(Task(), whole, cache=tmp_path, side=16, seed=0, test=0.25, validation=0.1)
    for name, part in made.parts.items():
        wanted = [record.image.name for record in whole.records if record.split == name]
        assert part.names_N is not None
        assert part.names_N.tolist() == wanted
    assert made.test.images_NSS.shape[1:] == (20, 20)
    assert np.isnan(made.spacing_N2).all()
    assert made.spacing_N2.shape == (len(made.test), 2)


def test_without_a_split_column_the_seed_divides_patients_and_rows_may_come_in_any_order(
    hospital_records: list[Record], tmp_path: Path
) -> None:
    records = tuple(replace(record, split="") for record in hospital_records)
    parts = []
    for seed, rows in ((0, records), (0, records[::-1]), (1, records)):
        whole = Manifest(path=tmp_path / "m.csv", records=rows)
        made = prepare_labels(Task(), whole, cache=tmp_path / "c", side=16, seed=seed, test=0.25, validation=0.1)
        held = [set(part.patients_N.tolist()) for part in made.parts.values()]
        assert sum(map(len, held)) == len(set.union(*held)) == 24
        parts.append(held)
    assert parts[0] == parts[1] != parts[2]


def test_a_quarter_more_than_the_encoders_side_is_cached() -> None:
    assert [cached_side(side) for side in (16, 64, 224, 6)] == [20, 80, 280, 8]


def test_several_reasons_why_nothing_is_left_are_told_together(hospital_manifest: Path, tmp_path: Path) -> None:
    task = Task(kind="classification", dataset="busi", organ="liver", classes=["a", "b"])
    with pytest.raises(DataError) as caught:
        prepare_labels(
            task, load_manifest(hospital_manifest), cache=tmp_path / "c", side=16, seed=0, test=0.2, validation=0.1
        )
    assert len(caught.value.problems) == 4
    assert not (tmp_path / "c").exists()


def test_a_patient_with_two_classes_counts_for_both() -> None:
    part = Labelled(
        images_NSS=np.zeros((3, 4, 4), np.uint8),
        patients_N=np.array(["a", "a", "b"]),
        labels_N=np.array([0, 1, 1], np.int64),
    )
    assert counts(part, ["x", "y", "z"]) == {
        "patients": 2,
        "images": 3,
        "classes": {
            "x": {"patients": 1, "images": 1},
            "y": {"patients": 2, "images": 2},
            "z": {"patients": 0, "images": 0},
        },
    }
