"""Who has labels: never the hospital without, never a held-out patient at a hospital."""

from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.manifest import load_manifest
from core.errors import ConfigError, DataError
from simulations.federated_finetune.config import FederatedFinetuneConfig
from simulations.federated_finetune.data import TaskData, task_data, write_hospitals

Configure = Callable[..., FederatedFinetuneConfig]


def patients(labelled: object) -> set[str]:
    return set(labelled.patients_N.tolist())  # type: ignore[attr-defined]


def test_labelled_patients_are_the_hospitals_training_patients(data: TaskData) -> None:
    # Of n patients of a hospital the first is for the test, the second for validation.
    assert {site: len(patients(own)) for site, own in data.hospitals.items()} == {"east": 8 - 2, "north": 5 - 2}
    assert patients(data.pooled) == patients(data.hospitals["east"]) | patients(data.hospitals["north"])
    assert patients(data.test) == {"east-0", "north-0", "west-0"}
    assert patients(data.validation) == {"east-1", "north-1", "west-1"}
    assert data.held_out == {("tiny", name) for name in patients(data.test) | patients(data.validation)}


def test_a_hospital_without_labels_gets_a_manifest_without_masks(data: TaskData, tmp_path: Path) -> None:
    write_hospitals(data, without_labels=["west"], folder=tmp_path)
    west, east = (load_manifest(tmp_path / site / "manifest.csv") for site in ("west", "east"))
    assert len(west.records) == 6 - 2
    assert all(record.mask is None and record.label == "" for record in west.records)
    assert all(record.mask is not None and record.label == "benign" for record in east.records)


def test_a_stranger_without_labels_is_named(configure: Configure) -> None:
    with pytest.raises(ConfigError, match="without_labels names south; hospitals: east, north, west"):
        task_data(configure("without_labels=[south]"), progress=lambda *_: None)


def test_no_label_at_all_is_a_data_error(configure: Configure) -> None:
    with pytest.raises(DataError, match="task lesion: no training and no validation and no test patient with a mask"):
        task_data(configure("task.dataset=elsewhere"), progress=lambda *_: None)
