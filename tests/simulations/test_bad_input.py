"""Bad input through the command line: a clear sentence, the right exit code, and nothing half-written."""

import csv
import fcntl
import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]

CONFIGURATION, DATA, PLAN, PAUSED, CHECKPOINT, EXISTS = 2, 3, 4, 7, 8, 9


@pytest.fixture
def own_data(tiny_manifest: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data set, for spoiling."""
    return Path(shutil.copytree(tiny_manifest.parent, tmp_path / "own")) / "manifest.csv"


@pytest.fixture
def refused(simulator, tmp_path: Path) -> Callable[..., str]:
    """(exit code, argument, ...) -> the message; the run left no folder and no traceback."""

    def run(code: int, *arguments: str, **options: Path) -> str:
        result = simulator(*arguments, **options)
        assert result.exit_code == code, (result.output, result.stderr, result.exception)
        assert result.stderr.startswith("error: ")
        assert result.stderr.endswith("\n")
        assert "Traceback" not in result.output
        assert not (tmp_path / "runs").exists()
        return result.stderr

    return run


def edit(manifest: Path, change: Callable[[list[dict[str, str]]], list[dict[str, str]] | None]) -> None:
    """Rewrite a manifest's rows."""
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


def test_a_missing_manifest(refused, tmp_path: Path) -> None:
    message = refused(DATA, f"data.manifest={tmp_path / 'nowhere.csv'}")
    assert "nowhere.csv" in message


@pytest.mark.parametrize("text", ["", "image,organ,patient\n"])
def test_an_empty_manifest(text: str, refused, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text(text)
    message = refused(DATA, f"data.manifest={tmp_path / 'empty.csv'}")
    assert "empty.csv" in message
    assert "no images are listed" in message or "empty" in message.split("empty.csv")[1]


def test_a_manifest_that_is_a_folder(refused, tmp_path: Path) -> None:
    refused(DATA, f"data.manifest={tmp_path}")


def test_words_that_are_no_organ_are_all_listed(refused, own_data: Path) -> None:
    def change(rows):
        rows[0]["organ"], rows[5]["organ"] = "brest", "xyzzy"

    edit(own_data, change)
    message = refused(DATA, f"data.manifest={own_data}")
    assert "row 2: 'brest' is no organ of the vocabulary; did you mean 'breast'?" in message
    assert "row 7: 'xyzzy' is no organ" in message


def test_a_missing_image(refused, own_data: Path) -> None:
    (own_data.parent / "east-liver-1.png").unlink()
    assert "row 7: image east-liver-1.png is not there" in refused(DATA, f"data.manifest={own_data}")


def test_a_mask_of_another_size(refused, own_data: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((12, 24), np.uint8)).save(own_data.parent / "mask.png")
    edit(own_data, lambda rows: rows[3].update(mask="mask.png"))
    message = refused(DATA, f"data.manifest={own_data}", f"data.cache={tmp_path / 'cache'}")
    assert "row 5: mask" in message
    assert "is 24 x 12 pixels, its image 24 x 24" in message


@pytest.mark.parametrize("content", [b"no image at all", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_image(content: bytes, refused, own_data: Path, tmp_path: Path) -> None:
    (own_data.parent / "west-breast-0.png").write_bytes(content)
    message = refused(DATA, f"data.manifest={own_data}", f"data.cache={tmp_path / 'cache'}")
    assert "west-breast-0.png" in message
    assert "row 18" in message


def test_a_truncated_image(refused, own_data: Path, tmp_path: Path) -> None:
    path = own_data.parent / "west-breast-0.png"
    path.write_bytes(path.read_bytes()[:200])
    message = refused(DATA, f"data.manifest={own_data}", f"data.cache={tmp_path / 'cache'}")
    assert "west-breast-0.png" in message


def test_a_patient_in_two_sites(refused, own_data: Path) -> None:
    edit(own_data, lambda rows: rows[0].update(patient=rows[10]["patient"]))
    message = refused(DATA, f"data.manifest={own_data}")
    assert "patient 'north-breast-2' is in more than one site: east (row 2), north (row 12)" in message


# The hospitals


def test_fewer_patients_than_hospitals(refused) -> None:
    message = refused(DATA, "partition.kind=dirichlet", "partition.hospitals=1000")
    assert "patients cannot be divided among 1000 hospitals" in message


def test_a_hospital_below_the_floor(refused) -> None:
    message = refused(DATA, "partition.floor=7")
    assert "fewer than the floor of 7" in message
    assert "hospital 'east'" in message


def test_a_dirichlet_draw_that_never_reaches_the_floor(refused) -> None:
    message = refused(DATA, "partition.kind=dirichlet", "partition.hospitals=3", "partition.floor=8")
    assert "fewer than 8 patients" in message


def test_a_partition_by_a_column_that_is_empty(refused, own_data: Path) -> None:
    edit(own_data, lambda rows: [{**row, "site": ""} for row in rows])
    assert "'site' is empty" in refused(DATA, f"data.manifest={own_data}")


@pytest.mark.parametrize("name", ["../../outside", "St. Mary's", "a/b", "x" * 65, "-dash"])
def test_a_hospital_name_that_is_no_folder_name(name: str, refused, own_data: Path, tmp_path: Path) -> None:
    edit(own_data, lambda rows: [{**row, "site": name if row["site"] == "east" else row["site"]} for row in rows])
    message = refused(DATA, f"data.manifest={own_data}")
    assert f"hospital name {name!r} must be 1 to 64 letters" in message
    assert not list(tmp_path.rglob("outside"))


def test_an_organ_below_the_floor_of_the_study(refused) -> None:
    message = refused(PLAN, "federation.min_patients=1000")
    assert "no organ is held by 1000 patients or more" in message


def test_more_sites_asked_for_than_there_are(refused) -> None:
    assert "min_sites 4 must lie between 1 and the 3 sites" in refused(PLAN, "federation.min_sites=4")


def test_a_skip_of_no_hospital(refused) -> None:
    assert "skip names nroth; the hospitals are east, north, west" in refused(DATA, "skip.nroth=[1]")


@pytest.mark.parametrize("split", ["train", "test"])
def test_nobody_held_out_is_found_before_anything_is_trained(split: str, refused, own_data: Path) -> None:
    words = {"train": ["train"], "test": ["train", "test"]}[split]
    edit(own_data, lambda rows: [{**row, "split": words[i % len(words)]} for i, row in enumerate(rows)])
    message = refused(DATA, f"data.manifest={own_data}")
    assert "no validation" in message
    assert ("no test patient" in message) == (split == "train")


# The disk


def test_a_disk_that_is_full_while_caching(simulator, tmp_path: Path) -> None:
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


def test_a_disk_that_is_full_in_the_middle_of_a_run_and_free_again(simulator, tmp_path: Path) -> None:
    assert simulator("name=whole").exit_code == 0
    with files_of_at_most(25_000):  # the model alone takes more
        result = simulator("name=full")
    assert result.exit_code == CHECKPOINT, result.output
    assert "cannot be written (File too large); free space" in result.stderr
    resumed = simulator("name=full", "--resume")
    assert resumed.exit_code == 0, resumed.output
    whole, full = (json.loads((tmp_path / "runs" / name / "metrics.json").read_text()) for name in ("whole", "full"))
    assert full["final_hash"] == whole["final_hash"]


def test_a_cache_folder_that_is_a_file(refused, config_file: Path) -> None:
    assert "cannot be used" in refused(DATA, f"data.cache={config_file}")


def test_runs_that_is_a_file(simulator, config_file: Path) -> None:
    result = simulator(f"runs={config_file}")
    assert result.exit_code == CONFIGURATION
    assert "cannot be made" in result.stderr


# The configuration


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("federation.rounds=0", "federation.rounds must be at least 1, got 0"),
        ("rounds=0", "unknown key rounds, did you mean federation.rounds?"),
        ("batch=4", "unknown key batch, did you mean training.batch or evaluation.batch?"),
        ("federation.round=3", "unknown key federation.round, did you mean federation.rounds?"),
        ("training.lerning_rate=1", "did you mean training.learning_rate?"),
        ("zzz=1", "unknown key zzz; known here: name, runs, seed"),
        ("federation.rounds=2.5", "federation.rounds"),
        ("federation.rounds=-3", "federation.rounds must be at least 1, got -3"),
        ("federation.rounds=many", "federation.rounds"),
        ("federation.rounds=", "federation.rounds"),
        ("training.learning_rate=nan", "training.learning_rate must be a finite number, got nan"),
        ("training.weight_decay=nan", "training.weight_decay must be a finite number, got nan"),
        ("training.clip_norm=.inf", "training.clip_norm must be a finite number, got inf"),
        ("federation.norm_bound=-inf", "federation.norm_bound must be a finite number, got -inf"),
        ("federation.norm_bound=nan", "federation.norm_bound must be a finite number, got nan"),
        ("federation.server.rate=inf", "federation.server.rate must be a finite number, got inf"),
        ("data.test=.nan", "data.test must be a finite number, got nan"),
        ("objective.frequency_weight=1e999", "objective.frequency_weight must be a finite number, got inf"),
        ("training.learning_rate=-0.1", "training.learning_rate must lie in (0, 10), got -0.1"),
        ("threads=-1", "threads must lie in [1, 256], got -1"),
        ("data.test=-0.1", "data.test -0.1"),
        ("data.test=0.9", "data.test 0.9 and data.validation 0.1 must be positive, sum below 1"),
        ("name=../x", "name must be 1 to 64 letters, digits, dots, dashes or underscores, got '../x'"),
        ("name=/etc", "name must be 1 to 64 letters"),
        ("name=..", "name must be 1 to 64 letters"),
        ("name=", "name must be 1 to 64 letters"),
        ("name", "'name': an override is written key=value"),
        ("=3", "'=3': an override is written key=value"),
        ("data=3", "data is a section, found 3"),
        ("seed={a: 1}", "seed is a single value, found the keys a"),
        ("arms=[local]", "arms must include federated"),
        ("arms=[federated,magic]", "arms: magic is none of random_init, local"),
        ("federation.codec=zip", "codec 'zip' is unknown; exact and bf16 are known"),
        ("name=${nowhere}", "name: "),
        ("skip.north=[a]", "skip"),
        ("evaluation.tasks.t={column: colour, classes: [a, b]}", "evaluation.tasks.t.column must be label or organ"),
        ("evaluation.tasks.t={classes: [a]}", "evaluation.tasks.t.classes must name two classes or more"),
    ],
)
def test_one_bad_value(override: str, sentence: str, refused) -> None:
    assert sentence in refused(CONFIGURATION, override)


def test_every_bad_key_is_listed(refused, config_file: Path) -> None:
    config_file.write_text(config_file.read_text() + "\nruonds: 3\n")
    message = refused(CONFIGURATION, "federation.rounds=0", "training.btach=3", "threads=0", "encoder.channels=2")
    assert "5 problems" in message
    for part in ("ruonds", "federation.rounds", "training.btach", "threads must", "encoder.channels"):
        assert message.count(part) == 1
    assert "tiny.yaml: unknown key ruonds" in message
    assert "command line: unknown key training.btach" in message


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: [1", "not YAML"),
        (b"\x00\x01", "not YAML"),
        (b"\xff\xfe\xfa\x00", "cannot be read"),
        (b"- 1\n- 2\n", "must hold sections and keys, found list"),
        (b"just a sentence", "must hold sections and keys, found str"),
        (b"1: 2\n", "unknown key 1"),
        (b"federation: 3\n", "federation is a section, found 3"),
    ],
)
def test_a_config_file_that_is_none(content: bytes, sentence: str, refused, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    message = refused(CONFIGURATION, config=path)
    assert "bad.yaml" in message
    assert sentence in message


def test_a_config_file_that_is_a_folder_or_missing(refused, tmp_path: Path) -> None:
    assert "cannot be read (Is a directory)" in refused(CONFIGURATION, config=tmp_path)
    assert "cannot be read (No such file" in refused(CONFIGURATION, config=tmp_path / "no.yaml")


# The run's folder


@pytest.mark.parametrize("name", ["007", "2026-01-31", "2026-02-31", "1e3", "on", "12_30"])
def test_a_name_is_taken_as_it_was_typed(name: str, simulator, tmp_path: Path) -> None:
    result = simulator(f"name={name}", "federation.min_patients=1000")
    assert result.exit_code == PLAN  # the name is good, the floor is not
    assert simulator(f"name={name}", "federation.rounds=1").exit_code == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [name]


def test_a_run_folder_that_exists_is_not_touched(simulator, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    for option in ([], ["--overwrite"]):
        result = simulator("name=mine", *option)
        assert result.exit_code == EXISTS
        assert "choose another name" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_a_finished_run_is_not_run_again_unless_asked(simulator, tmp_path: Path) -> None:
    assert simulator("name=r").exit_code == 0
    before = (tmp_path / "runs" / "r" / "metrics.json").read_bytes()
    again = simulator("name=r")
    assert again.exit_code == EXISTS
    assert "--resume" in again.stderr
    assert (tmp_path / "runs" / "r" / "metrics.json").read_bytes() == before
    (tmp_path / "runs" / "r" / "stale").mkdir()
    assert simulator("name=r", "--overwrite", "federation.rounds=1").exit_code == 0
    assert not (tmp_path / "runs" / "r" / "stale").exists()
    assert '"rounds": 1' in (tmp_path / "runs" / "r" / "metrics.json").read_text()


def test_bad_data_do_not_cost_the_old_run(simulator, tmp_path: Path) -> None:
    assert simulator("name=r").exit_code == 0
    assert simulator("name=r", "--overwrite", "partition.floor=7").exit_code == DATA
    assert (tmp_path / "runs" / "r" / "metrics.json").exists()


def test_what_a_kill_at_the_start_leaves_is_no_run(simulator, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    assert simulator("name=r").exit_code == 0


def test_resume_without_a_run(refused) -> None:
    assert "there is no run to resume" in refused(CONFIGURATION, "--resume", "name=r")


def test_resume_and_overwrite_at_once(simulator, tmp_path: Path) -> None:
    assert simulator("name=r").exit_code == 0
    result = simulator("name=r", "--resume", "--overwrite")
    assert result.exit_code == CONFIGURATION
    assert "give one of them" in result.stderr
    assert (tmp_path / "runs" / "r" / "metrics.json").exists()


def test_resume_with_another_configuration(simulator, tmp_path: Path) -> None:
    assert simulator("name=r").exit_code == 0
    result = simulator("name=r", "--resume", "federation.rounds=4")
    assert result.exit_code == CHECKPOINT
    assert "differs from this configuration" in result.stderr
    assert "saved: rounds: 3" in result.stderr
    assert "now:   rounds: 4" in result.stderr


@pytest.mark.parametrize("patient", ["north-liver-1", "east-breast-0", "west-liver-3"])
def test_resume_with_other_data(patient: str, simulator, own_data: Path) -> None:
    """Whichever part the patient was in: arms that were scored on different patients cannot be compared."""
    where = f"data.manifest={own_data}"
    assert simulator("name=r", where, "arms=[local,federated]").exit_code == 0
    edit(own_data, lambda rows: [row for row in rows if row["patient"] != patient])
    result = simulator("name=r", where, "arms=[local,federated]", "--resume")
    assert result.exit_code == CHECKPOINT
    assert "changed since the run began" in result.stderr


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_a_run_that_another_process_writes_is_left_alone(option: str, simulator, tmp_path: Path) -> None:
    assert simulator("name=r").exit_code == 0
    folder = tmp_path / "runs" / "r"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = simulator("name=r", option)
    assert result.exit_code == EXISTS
    assert "in use by another process" in result.stderr
    assert (folder / "metrics.json").exists()


def test_a_pause_says_why_and_has_its_exit_code(simulator, tmp_path: Path) -> None:
    told = []
    for option in ([], ["--resume"]):
        result = simulator("name=r", "skip.north=[1]", "federation.min_sites=3", *option)
        assert result.exit_code == PAUSED
        assert "round 1 has 2 of at least 3 updates and stays open" in result.stderr
        assert "north: the site sits this round out" in result.stderr
        told.append(result.stderr)
    assert told[0] == told[1]
    receipts = tmp_path / "runs" / "r" / "arms" / "federated" / "server" / "receipts.jsonl"
    assert len(receipts.read_text().splitlines()) == 1


def test_a_hospital_whose_disk_fails_pauses_the_run_until_it_is_mended(simulator, tmp_path: Path) -> None:
    """The fault is real: where the hospital keeps its optimizer state stands a folder."""
    assert simulator("name=r", "federation.min_sites=3", f"runs={tmp_path / 'whole'}").exit_code == 0
    assert simulator("name=r", "federation.min_sites=3", "federation.rounds=3").exit_code == 0
    arm = tmp_path / "runs" / "r" / "arms" / "federated"
    for path in (arm / "arm.safetensors", arm / "server" / "state.safetensors", arm / "server" / "receipts.jsonl"):
        path.unlink()
    obstacle = arm / "sites" / "north" / "moments.pending.safetensors"
    obstacle.unlink()
    obstacle.mkdir()
    result = simulator("name=r", "federation.min_sites=3", "--resume")
    assert result.exit_code == PAUSED
    assert "north: the client failed: CheckpointError" in result.stderr
    obstacle.rmdir()
    assert simulator("name=r", "federation.min_sites=3", "--resume").exit_code == 0
    whole, mended = (tmp_path / name / "r" / "receipts.jsonl" for name in ("whole", "runs"))
    assert whole.read_bytes() == mended.read_bytes()


def test_the_exit_code_reaches_the_shell(config_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "simulations/run.py", "--config", str(config_file), "federation.rounds=0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == CONFIGURATION
    assert done.stdout == ""
    assert done.stderr == "error: configuration: federation.rounds must be at least 1, got 0\n"
    assert not (tmp_path / "runs").exists()
