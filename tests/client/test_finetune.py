"""Fine-tuning alone, end to end: what is written, what repeats, what goes on after a kill, what is refused and how."""

import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from core.data.manifest import Record, write_manifest

ROOT = Path(__file__).parents[2]
CONFIGURATION, DATA, CHECKPOINT, EXISTS, INTERRUPTED = 2, 3, 8, 9, 130
"""Exit codes."""
Run = Callable[..., Result]
Make = Callable[..., Path]
Tune = Callable[..., Result]
FILES = {"config.yaml", "inputs.json", "fit.safetensors", "model.safetensors", "result.json", "result.html", ".lock"}


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded images for the whole session."""
    return tmp_path_factory.mktemp("decoded")


@pytest.fixture
def common(weights_file: Path, hospital_manifest: Path, shared_cache: Path) -> tuple[Any, ...]:
    """The options that every fine-tuning here shares."""
    return ("--weights", weights_file, "--manifest", hospital_manifest, "--cache", shared_cache, "--threads", 1)


@pytest.fixture
def tune(run_client: Run, task_file: Make, common: tuple[Any, ...], tmp_path: Path) -> Tune:
    """(argument, ..., kind=..., out=...) -> what `usfm-client finetune` does; later options win."""

    def run(*arguments: Any, kind: str = "segmentation", out: str = "out") -> Result:
        return run_client("finetune", "--task", task_file(kind), *common, "--out", tmp_path / out, *arguments)

    return run


def result_in(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


def comparable(folder: Path) -> dict[str, Any]:
    """What must repeat: everything but how long it took."""
    return {name: value for name, value in result_in(folder).items() if name != "timing"}


@pytest.mark.parametrize(
    ("kind", "metric"), [("segmentation", "dice"), ("classification", "balanced_accuracy"), ("enhancement", "psnr")]
)
def test_every_kind_of_task_gives_a_model_a_result_and_a_page(
    kind: str, metric: str, tune: Tune, run_client: Run, hospital_manifest: Path, tmp_path: Path
) -> None:
    done = tune(kind=kind)
    assert done.exit_code == 0, done.output
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == FILES
    result = result_in(out)
    assert result["score"]["primary"] == metric
    assert result["score"]["metrics"][metric]["patients"] == 6
    assert [point["step"] for point in result["curve"]] == [2, 4]
    splits = result["data"]["splits"]
    assert {name: part["patients"] for name, part in splits.items()} == {"train": 12, "validation": 6, "test": 6}
    page = (out / "result.html").read_text()
    for heading in ("Every metric", "Examples", "How training went", "Who took part", "What it was made from"):
        assert heading in page
    assert "6 test patients" in page
    assert "on 6 patients that the model has not seen" in done.output
    again = run_client(
        "predict", "--model", out / "model.safetensors", "--images", hospital_manifest.parent, "--out", tmp_path / "p"
    )
    assert again.exit_code == 0, again.output


def test_patients_are_numbers_unless_names_are_asked_for(tune: Tune, tmp_path: Path) -> None:
    assert tune(out="numbers").exit_code == 0
    assert tune("--names", out="names").exit_code == 0
    for name in ("result.html", "result.json"):
        assert "Zoe" not in (tmp_path / "numbers" / name).read_text()
        assert "Zoe-" in (tmp_path / "names" / name).read_text()
    assert "patient 3 of 6" in (tmp_path / "numbers" / "result.json").read_text()


def test_nothing_on_the_page_is_fetched_or_run(tune: Tune, tmp_path: Path) -> None:
    assert tune().exit_code == 0
    page = (tmp_path / "out" / "result.html").read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_the_same_command_gives_the_same_weights_and_another_seed_others(tune: Tune, tmp_path: Path) -> None:
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert tune("--seed", seed, out=out).exit_code == 0
    assert comparable(tmp_path / "a") == comparable(tmp_path / "b")
    digests = [result_in(tmp_path / out)["model"]["weights_sha256"] for out in ("a", "c")]
    assert digests[0] != digests[1]
    pages = [(tmp_path / out / "result.html").read_text().count("<img") for out in ("a", "b")]
    assert pages == [12, 12]  # three patients, four pictures each


def test_an_override_changes_the_task(tune: Tune, tmp_path: Path) -> None:
    assert tune("tuning.steps=2", "tuning.encoder=frozen").exit_code == 0
    result = result_in(tmp_path / "out")
    assert result["model"]["steps"] == 2
    assert result["task"]["tuning"]["encoder"] == "frozen"
    assert yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())["task"]["tuning"]["steps"] == 2


def start(*arguments: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "client.cli", "finetune", *map(str, arguments)]
    # A test runner that was started in the background would hand down that Ctrl-C is ignored.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heed
    )


def stop_when_there(process: subprocess.Popen[str], path: Path, how: signal.Signals) -> str:
    end = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(how)
    return process.communicate(timeout=60)[0]


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, INTERRUPTED)])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    how: signal.Signals, code: int, tune: Tune, task_file: Make, common: tuple[Any, ...], tmp_path: Path
) -> None:
    long = ("tuning.steps=80", "tuning.evaluations=20")
    arguments = ("--task", task_file(), *common, "--out", tmp_path / "stopped", *long)
    with start(*arguments) as process:
        output = stop_when_there(process, tmp_path / "stopped" / "fit.safetensors", how)
    assert process.returncode == code, output
    assert "Traceback" not in output
    assert ("the same command with --resume goes on" in output) == (how == signal.SIGINT)
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    assert tune(*long, "--resume", out="stopped").exit_code == 0
    assert tune(*long, out="whole").exit_code == 0
    assert comparable(tmp_path / "stopped") == comparable(tmp_path / "whole")


def test_a_finished_run_is_neither_overwritten_nor_done_again(tune: Tune, tmp_path: Path) -> None:
    assert tune().exit_code == 0
    before = comparable(tmp_path / "out")
    refused = tune()
    assert refused.exit_code == EXISTS
    assert "choose another --out FOLDER, or --resume" in refused.stderr
    assert tune("--resume").exit_code == 0
    assert comparable(tmp_path / "out") == before
    other = tune("--resume", "tuning.steps=3")
    assert other.exit_code == CHECKPOINT
    assert "saved: steps: 4" in other.stderr
    assert tune("--overwrite", "tuning.steps=3").exit_code == 0
    assert result_in(tmp_path / "out")["model"]["steps"] == 3


def test_a_folder_of_somebody_else_is_not_touched(tune: Tune, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    for option in ([], ["--overwrite"]):
        assert tune(*option).exit_code == EXISTS
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_a_folder_in_use_is_left_alone(tune: Tune, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = tune()
    assert result.exit_code == EXISTS
    assert "in use by another process" in result.stderr


def test_every_wrong_file_is_told_at_once(run_client: Run, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text("kind: segmentaton\ntuning: {stepz: 3}\n")
    (tmp_path / "weights.safetensors").write_bytes(b"no weights")
    (tmp_path / "manifest.csv").write_text("image,organ\n")
    names = {"--task": "task.yaml", "--weights": "weights.safetensors", "--manifest": "manifest.csv"}
    files = [part for option, name in names.items() for part in (option, tmp_path / name)]
    result = run_client("finetune", *files, "--out", tmp_path / "out", "--test", "2", "tuning.batch=0")
    assert result.exit_code == CONFIGURATION
    for words in (
        "unknown key tuning.stepz, did you mean tuning.steps",
        "kind must be one of",
        "batch must be at least 1",
        "weights.safetensors",
        "column 'patient' is missing",
        "--test 2.0 must lie between",
    ):
        assert words in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--task", "--weights", "--manifest"])
def test_a_file_that_is_not_there_is_named(option: str, tune: Tune, tmp_path: Path) -> None:
    result = tune(option, tmp_path / "absent.yaml")
    assert result.exit_code in (CONFIGURATION, DATA, CHECKPOINT)
    assert "absent.yaml" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_task_that_the_manifest_has_no_labels_for_says_what_it_has(
    tune: Tune, task_file: Make, hospital_records: list[Record], tmp_path: Path
) -> None:
    other = tune("--task", task_file("classification", classes=["cyst", "nodule"]))
    assert other.exit_code == DATA
    assert "the task's classes are 'cyst', 'nodule'; the column label has 'benign', 'malignant'" in other.stderr
    elsewhere = tune("--task", task_file(dataset="busi", organ="liver"))
    assert "the task asks for dataset 'busi'; the manifest has nothing" in elsewhere.stderr
    assert "the task asks for organ 'liver'; the manifest has 'breast'" in elsewhere.stderr
    bare = tmp_path / "bare.csv"
    with bare.open("w", newline="") as file:
        rows = [["image", "organ", "patient"], *([r.image, r.organ, r.patient] for r in hospital_records)]
        csv.writer(file).writerows(rows)
    unmasked = tune("--manifest", bare)
    assert unmasked.exit_code == DATA
    assert "the manifest names no mask; give its column `mask`" in unmasked.stderr


def _manifest(records: list[Record], folder: Path, **splits: int) -> Path:
    """Of so many patients a split, one image each; none of the other patients."""
    words = [name for name, count in splits.items() for _ in range(count)]
    first = {record.patient: record for record in reversed(records)}
    chosen = [replace(first[name], split=word) for name, word in zip(sorted(first), words, strict=False)]
    write_manifest(chosen, folder / "few.csv")
    return folder / "few.csv"


def test_one_patient_in_every_split_is_enough_and_warned_of(
    tune: Tune, hospital_records: list[Record], tmp_path: Path
) -> None:
    few = _manifest(hospital_records, tmp_path, train=1, validation=1, test=1)
    done = tune("--manifest", few)
    assert done.exit_code == 0, done.output
    for words in ("1 test patient: the result is uncertain", "1 training patient: the model may have learnt them",
                  "1 validation patient: the state"):  # fmt: skip
        assert words in done.output
    page = (tmp_path / "out" / "result.html").read_text()
    assert "on one patient that the model has not seen; there is no interval: one patient has no interval" in page
    assert page.count("<h3>") == 1


def test_without_validation_patients_the_last_state_is_kept_and_told(
    tune: Tune, hospital_records: list[Record], tmp_path: Path
) -> None:
    done = tune("--manifest", _manifest(hospital_records, tmp_path, train=4, test=2), "--validation", "0")
    assert done.exit_code == 0, done.output
    assert "No validation score" in done.output
    result = result_in(tmp_path / "out")
    assert result["model"]["best_step"] == result["model"]["steps"] == 4
    assert [point["validation"] for point in result["curve"]] == [None, None]


@pytest.mark.parametrize(
    ("splits", "words"), [({"train": 3}, "to measure the result on"), ({"test": 3}, "to learn from")]
)
def test_a_manifest_with_nothing_to_learn_from_or_to_measure_on_is_refused(
    splits: dict[str, int], words: str, tune: Tune, hospital_records: list[Record], tmp_path: Path
) -> None:
    result = tune("--manifest", _manifest(hospital_records, tmp_path, **splits))
    assert result.exit_code == DATA
    assert words in result.stderr
    assert not (tmp_path / "out").exists()


def test_one_class_alone_is_not_learnt(tune: Tune, hospital_records: list[Record], tmp_path: Path) -> None:
    benign = [record for record in hospital_records if record.label == "benign"]
    result = tune("--manifest", _manifest(benign, tmp_path, train=4, validation=1, test=1), kind="classification")
    assert result.exit_code == DATA
    assert "all training images are of the class benign" in result.stderr


def test_data_that_changed_are_not_gone_on_with(tune: Tune, hospital_records: list[Record], tmp_path: Path) -> None:
    few = _manifest(hospital_records, tmp_path, train=4, validation=1, test=1)
    assert tune("--manifest", few).exit_code == 0
    _manifest(hospital_records, tmp_path, train=3, validation=2, test=1)
    result = tune("--manifest", few, "--resume")
    assert result.exit_code == CHECKPOINT
    assert "data, code or torch changed since the run began" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_place_that_may_not_be_written_is_told(tune: Tune, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    result = tune(out="closed/out")
    assert result.exit_code == CONFIGURATION
    assert "choose another --out FOLDER" in result.stderr


def test_overwriting_does_not_remove_what_the_run_starts_from(tune: Tune, weights_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.yaml").touch()  # an earlier run, into whose folder the weights were put
    own = out / "encoder.safetensors"
    own.write_bytes(weights_file.read_bytes())
    done = tune("--weights", own, "--overwrite")
    assert done.exit_code == EXISTS
    assert f"--overwrite would remove {own}" in done.output
    assert own.read_bytes() == weights_file.read_bytes()
