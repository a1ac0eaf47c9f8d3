"""An arm's file holds the arm exactly, or is refused."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import CheckpointError
from core.files import save_tensors
from simulations.results import SCHEMA_VERSION, Scored, Trained, load_result, save_result

TRAINED = Trained(
    model={"a": np.array([0.1, np.float32(1) / 3], np.float32), "b": np.zeros((2, 3), np.float32)},
    images=24,
    seconds=0.1,
    curve=[(8, 1.1), (16, 0.1 + 0.2)],
)
PROBE = {"mean": 0.5, "low": 0.25, "high": None, "reason": ""}
SCORED = Scored(
    test={"p/liver": ("liver", 1 / 3)},
    validation={"q/breast": ("breast", 0.1)},
    tasks={"lesion": {"knn": PROBE, "linear": PROBE}},
)


def test_an_arm_that_is_not_finished_has_no_result(tmp_path: Path) -> None:
    assert load_result(tmp_path) is None


def test_what_is_read_is_what_was_written_to_the_last_bit(tmp_path: Path) -> None:
    save_result(tmp_path / "arm", TRAINED, SCORED)
    found = load_result(tmp_path / "arm")
    assert found is not None
    trained, scored = found
    assert scored == SCORED
    assert (trained.images, trained.seconds, trained.curve) == (24, 0.1, TRAINED.curve)
    assert list(trained.model) == ["a", "b"]
    for name, value in TRAINED.model.items():
        assert trained.model[name].dtype == np.float32
        assert trained.model[name].tobytes() == value.tobytes()


def test_the_same_arm_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_result(tmp_path / name, TRAINED, SCORED)
    one, two = ((tmp_path / name / "arm.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_file_that_was_cut_is_refused(keep: int, tmp_path: Path) -> None:
    save_result(tmp_path, TRAINED, SCORED)
    path = tmp_path / "arm.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="remove it"):
        load_result(tmp_path)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    save_result(tmp_path, TRAINED, SCORED)
    path = tmp_path / "arm.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="remove it"):
        load_result(tmp_path)


@pytest.mark.parametrize("meta", [{}, {"scored": {"test": {}}}, {"scored": 3}])
def test_a_document_without_the_scores_is_refused(meta: dict[str, object], tmp_path: Path) -> None:
    save_tensors(tmp_path / "arm.safetensors", TRAINED.model, meta={"schema_version": SCHEMA_VERSION, **meta})
    with pytest.raises(CheckpointError, match="incomplete"):
        load_result(tmp_path)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    save_tensors(tmp_path / "arm.safetensors", TRAINED.model, meta={"schema_version": SCHEMA_VERSION + 1})
    with pytest.raises(CheckpointError, match="schema version 2"):
        load_result(tmp_path)
