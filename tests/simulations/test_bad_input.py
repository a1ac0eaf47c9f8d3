"""Bad input through the command line: a clear sentence, the right exit code, and nothing half-written."""

import csv
import json
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CONFIGURATION, DATA, PLAN, PAUSED, CHECKPOINT = 2, 3, 4, 7, 8
"""Exit codes."""
Make = Callable[..., Any]


@pytest.fixture
def own_data(tiny_manifest: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data set, for spoiling."""
    return Path(shutil.copytree(tiny_manifest.parent, tmp_path / "own")) / "manifest.csv"


def edit(manifest: Path, change: Callable[[list[dict[str, str]]], list[dict[str, str]] | None]) -> None:
    """Rewrite a manifest's rows, in place or by those that `change` returns."""
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    header = list(rows[0])
    rows = change(rows) or rows
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A full disk, as far as a process without root can have one: no file may grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


# The manifest and the images


def test_a_missing_manifest(refused: Make, tmp_path: Path) -> None:
    message = refused(DATA, f"data.manifest={tmp_path / 'nowhere.csv'}")
    assert "nowhere.csv" in message


@pytest.mark.parametrize("text", ["", "image,organ,patient\n"])
def test_an_empty_manifest(text: str, refused: Make, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text(text)
    message = refused(DATA, f"data.manifest={tmp_path / 'empty.csv'}")
    assert "empty.csv" in message
    assert "no images are listed" in message or "empty" in message.split("empty.csv")[1]


def test_a_manifest_that_is_a_folder(refused: Make, tmp_path: Path) -> None:
    refused(DATA, f"data.manifest={tmp_path}")


def test_words_that_are_no_organ_are_all_listed(refused: Make, own_data: Path) -> None:
    def change(rows: list[dict[str, str]]) -> None:
        rows[0]["organ"], rows[5]["organ"] = "brest", "xyzzy"

    edit(own_data, change)
    message = refused(DATA, f"data.manifest={own_data}")
    assert "row 2: 'brest' is no organ of the vocabulary; did you mean 'breast'?" in message
    assert "row 7: 'xyzzy' is no organ" in message


def test_a_missing_image(refused: Make, own_data: Path) -> None:
    (own_data.parent / "east-liver-1.png").unlink()
    assert "row 7: image east-liver-1.png is not there" in refused(DATA, f"data.manifest={own_data}")


def test_a_mask_of_another_size(refused: Make, own_data: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((12, 24), np.uint8)).save(own_data.parent / "mask.png")
    edit(own_data, lambda rows: rows[3].update(mask="mask.png"))
    message = refused(DATA, f"data.manifest={own_data}", f"data.cache={tmp_path / 'cache'}")
    assert "row 5: mask" in message
    assert "is 24 x 12 pixels, its image 24 x 24" in message


@pytest.mark.parametrize("content", [b"no image at all", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_image(content: bytes, refused: Make, own_data: Path, tmp_path: Path) -> None:
    (own_data.parent / "west-breast-0.png").write_bytes(content)
    message = refused(DATA, f"data.manifest={own_data}", f"data.cache={tmp_path / 'cache'}")
    assert "west-breast-0.png" in message
    assert "row 18" in message


def test_a_truncated_image(refused: Make, own_data: Path, tmp_path: Path) -> None:
    path = own_data.parent / "west-breast-0.png"
    path.write_bytes(path.read_bytes()[:200])
    message = refused(DATA, f"data.manifest={own_data}", f"data.cache={tmp_path / 'cache'}")
    assert "west-breast-0.png" in message


def test_a_patient_in_two_sites(refused: Make, own_data: Path) -> None:
    edit(own_data, lambda rows: rows[0].update(patient=rows[10]["patient"]))
    message = refused(DATA, f"data.manifest={own_data}")
    assert "patient 'north-breast-2' is in more than one site: east (row 2), north (row 12)" in message


# The hospitals


def test_fewer_patients_than_hospitals(refused: Make) -> None:
    message = refused(DATA, "partition.kind=dirichlet", "partition.hospitals=1000")
    assert "patients cannot be divided among 1000 hospitals" in message


def test_a_hospital_below_the_floor(refused: Make) -> None:
    message = refused(DATA, "partition.floor=7")
    assert "fewer than the floor of 7" in message
    assert "hospital 'east'" in message


def test_a_dirichlet_draw_that_never_reaches_the_floor(refused: Make) -> None:
    message = refused(DATA, "partition.kind=dirichlet", "partition.hospitals=3", "partition.floor=8")
    assert "fewer than 8 patients" in message


def test_a_partition_by_a_column_that_is_empty(refused: Make, own_data: Path) -> None:
    edit(own_data, lambda rows: [{**row, "site": ""} for row in rows])
    assert "'site' is empty" in refused(DATA, f"data.manifest={own_data}")


@pytest.mark.parametrize("name", ["../../outside", "St. Mary's", "a/b", "x" * 65, "-dash"])
def test_a_hospital_name_that_is_no_folder_name(name: str, refused: Make, own_data: Path, tmp_path: Path) -> None:
    edit(own_data, lambda rows: [{**row, "site": name if row["site"] == "east" else row["site"]} for row in rows])
    message = refused(DATA, f"data.manifest={own_data}")
    assert f"hospital name {name!r} must be 1 to 64 letters" in message
    assert not list(tmp_path.rglob("outside"))


def test_an_organ_below_the_floor_of_the_study(refused: Make) -> None:
    message = refused(PLAN, "federation.min_patients=1000")
    assert "no organ is held by 1000 patients or more" in message


def test_more_sites_asked_for_than_there_are(refused: Make) -> None:
    assert "min_sites 4 must lie between 1 and the 3 sites" in refused(PLAN, "federation.min_sites=4")


def test_a_skip_of_no_hospital(refused: Make) -> None:
    assert "skip names nroth; the hospitals are east, north, west" in refused(DATA, "skip.nroth=[1]")


@pytest.mark.parametrize("split", ["train", "test"])
def test_nobody_held_out_is_found_before_anything_is_trained(split: str, refused: Make, own_data: Path) -> None:
    words = {"train": ["train"], "test": ["train", "test"]}[split]
    edit(own_data, lambda rows: [{**row, "split": words[i % len(words)]} for i, row in enumerate(rows)])
    message = refused(DATA, f"data.manifest={own_data}")
    assert "no validation" in message
    assert ("no test patient" in message) == (split == "train")


@pytest.mark.parametrize("patient", ["north-liver-1", "east-breast-0", "west-liver-3"])
def test_resume_with_other_data(patient: str, simulator: Make, own_data: Path) -> None:
    """Whichever part the patient was in: arms that were scored on different patients cannot be compared."""
    arguments = ("name=r", f"data.manifest={own_data}", "skip.north=[0]", "federation.min_sites=3")
    assert simulator(*arguments).exit_code == PAUSED
    edit(own_data, lambda rows: [row for row in rows if row["patient"] != patient])
    result = simulator(*arguments, "--resume")
    assert result.exit_code == CHECKPOINT
    assert "changed since the run began" in result.stderr


# The disk


def test_a_disk_that_is_full_while_caching(simulator: Make, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with files_of_at_most(4096):  # 24 images of 16 x 16 take 6144 bytes
        result = simulator(f"data.cache={cache}")
    assert result.exit_code == DATA, result.output
    assert str(cache) in result.stderr
    assert "full" in result.stderr
    assert "free some space" in result.stderr
    assert not (tmp_path / "runs").exists()
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) == 0
    assert simulator(f"data.cache={cache}").exit_code == 0


def test_a_disk_that_is_full_in_the_middle_of_a_run_and_free_again(simulator: Make, tmp_path: Path) -> None:
    assert simulator("name=whole").exit_code == 0
    with files_of_at_most(25_000):  # the model alone takes more
        result = simulator("name=full")
    assert result.exit_code == CHECKPOINT, result.output
    assert "cannot be written (File too large); free space" in result.stderr
    resumed = simulator("name=full", "--resume")
    assert resumed.exit_code == 0, resumed.output
    whole, full = (json.loads((tmp_path / "runs" / name / "metrics.json").read_text()) for name in ("whole", "full"))
    assert full["final_hash"] == whole["final_hash"]


def test_a_cache_folder_that_is_a_file(refused: Make, config_file: Path) -> None:
    assert "cannot be used" in refused(DATA, f"data.cache={config_file}")


def test_runs_that_is_a_file(simulator: Make, config_file: Path) -> None:
    result = simulator(f"runs={config_file}")
    assert result.exit_code == CONFIGURATION
    assert "cannot be made" in result.stderr
