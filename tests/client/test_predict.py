"""A folder of images in, masks, classes or enhanced images out: every file accounted for, nothing overwritten."""

import csv
import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image

from client.predict import BATCH, RESULTS
from core.training.fitted import load_fitted, save_fitted

CONFIGURATION, DATA, CHECKPOINT, EXISTS = 2, 3, 8, 9
"""Exit codes."""
Run = Callable[..., Result]
Make = Callable[..., Path]


def put_image(path: Path, *, width: int = 24, height: int = 20, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of unlike sizes and formats, two sharing a stem, and a file that is none."""
    images = tmp_path / "images"
    put_image(images / "a.png", width=40, height=20)
    put_image(images / "a.jpg", width=24, height=24, seed=1)
    put_image(images / "deep" / "b.bmp", width=30, height=50, seed=2)
    (images / "notes.txt").write_text("not an image")
    return images


def predicted(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "predictions.json").read_text())
    return content


@pytest.mark.parametrize("kind", ["segmentation", "classification", "enhancement"])
def test_a_model_with_a_weight_that_is_no_number_does_not_find_nothing(
    kind: str, folder: Path, fitted_file: Make, run_client: Run, tmp_path: Path
) -> None:
    fitted = load_fitted(fitted_file(kind))
    with torch.no_grad():
        fitted.model.encoder.norm.weight[0] = float("nan")
    save_fitted(tmp_path / "damaged", fitted)
    result = run_client("predict", "--model", tmp_path / "damaged", "--images", folder, "--out", tmp_path / "out")
    assert result.exit_code == DATA
    assert "predictions are not finite; the model's weights or an image are damaged" in result.output
    assert not (tmp_path / "out" / "predictions.json").exists()


def test_masks_have_the_size_of_their_images_and_mirror_their_folders(
    folder: Path, fitted_file: Make, run_client: Run, tmp_path: Path
) -> None:
    model, out = fitted_file(threshold=0.3), tmp_path / "out"
    result = run_client("predict", "--model", model, "--images", folder, "--out", out)
    assert result.exit_code == 0, result.output
    sizes = {"masks/a.png.png": (40, 20), "masks/a.jpg.png": (24, 24), "masks/deep/b.png": (30, 50)}
    assert {path.relative_to(out).as_posix() for path in (out / "masks").rglob("*.png")} == set(sizes)
    for name, size in sizes.items():
        with Image.open(out / name) as mask:
            assert mask.size == size
            assert set(np.unique(np.asarray(mask))) <= {0, 255}
    document = predicted(out)
    assert document["threshold"] == 0.3
    assert document["model"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert document["counts"] == {"images": 3, "predicted": 3, "broken": 0, "skipped": 1}
    assert document["skipped"] == {"notes.txt": "no suffix of an image (.txt)"}
    assert "3 of 3 images predicted" in result.output
    assert "1 x no suffix of an image (.txt)" in result.output


def test_the_threshold_decides_what_is_inside(folder: Path, fitted_file: Make, run_client: Run, tmp_path: Path) -> None:
    shares = []
    for threshold in (0.01, 0.99):
        out = tmp_path / str(threshold)
        arguments = ("--model", fitted_file(), "--images", folder, "--out", out, "--threshold", threshold)
        assert run_client("predict", *arguments).exit_code == 0
        shares.append([image["share_inside"] for image in predicted(out)["images"]])
    assert shares == [[1.0] * 3, [0.0] * 3]  # a head that has learnt nothing says about one half everywhere


def test_classes_come_as_a_table_with_probabilities_that_sum_to_one(
    folder: Path, fitted_file: Make, run_client: Run, tmp_path: Path
) -> None:
    put_image(folder / "=1+1.png")
    out = tmp_path / "out"
    assert (
        run_client("predict", "--model", fitted_file("classification"), "--images", folder, "--out", out).exit_code == 0
    )
    with (out / "classes.csv").open(newline="") as file:
        head, *rows = list(csv.reader(file))
    assert head == ["file", "class", "benign", "malignant"]
    assert [row[0] for row in rows] == ["'=1+1.png", "a.jpg", "a.png", "deep/b.bmp"]
    for _, word, benign, malignant in rows:
        assert float(benign) + float(malignant) == pytest.approx(1, abs=2e-6)
        assert word == ("benign" if float(benign) >= float(malignant) else "malignant")
    assert not (out / "masks").exists()


def test_enhanced_images_are_grey_and_of_the_original_size(
    folder: Path, fitted_file: Make, run_client: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run_client("predict", "--model", fitted_file("enhancement"), "--images", folder, "--out", out).exit_code == 0
    with Image.open(out / "enhanced" / "deep" / "b.png") as image:
        assert (image.size, image.mode) == ((30, 50), "L")
    sheet = (out / "overlay.html").read_text()
    assert sheet.count("<img") == 2 * 3
    assert "The model works at 16 x 16 pixels, so finer detail is not there" in sheet


def test_a_broken_image_does_not_stop_the_rest_and_is_named(
    folder: Path, fitted_file: Make, run_client: Run, tmp_path: Path
) -> None:
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "empty.jpg").touch()
    (folder / "circle.png").symlink_to(folder / "circle.png")
    out = tmp_path / "out"
    result = run_client("predict", "--model", fitted_file(), "--images", folder, "--out", out)
    assert result.exit_code == DATA
    assert "torn.png is damaged" in result.stderr
    assert "empty.jpg has zero bytes" in result.stderr
    assert "circle.png cannot be read" in result.stderr
    document = predicted(out)
    assert document["counts"] == {"images": 6, "predicted": 3, "broken": 3, "skipped": 1}
    assert set(document["broken"]) == {"torn.png", "empty.jpg", "circle.png"}
    assert (out / "masks" / "deep" / "b.png").exists()
    assert "3 could not be read" in (out / "overlay.html").read_text()


def test_a_folder_without_an_image_says_what_was_there_and_makes_nothing(
    fitted_file: Make, run_client: Run, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "scan.dcm").write_bytes(b"x")
    result = run_client("predict", "--model", fitted_file(), "--images", tmp_path / "empty", "--out", tmp_path / "out")
    assert result.exit_code == DATA
    assert "no image was found" in result.stderr
    assert "1 x DICOM is not read yet; export PNG" in result.stderr
    assert not (tmp_path / "out").exists()


def test_more_images_than_a_batch_are_predicted_as_one_by_one(
    fitted_file: Make, run_client: Run, tmp_path: Path
) -> None:
    for number in range(BATCH + 3):
        put_image(tmp_path / "images" / f"{number:02d}.png", seed=number)
    put_image(tmp_path / "one" / f"{BATCH:02d}.png", seed=BATCH)
    for images in ("images", "one"):
        arguments = (
            "--model",
            fitted_file("enhancement"),
            "--images",
            tmp_path / images,
            "--out",
            tmp_path / f"of-{images}",
        )
        assert run_client("predict", *arguments).exit_code == 0
    alone, among = (
        np.asarray(Image.open(tmp_path / f"of-{images}" / "enhanced" / f"{BATCH:02d}.png"), np.int64)
        for images in ("one", "images")
    )
    assert np.abs(alone - among).max() <= 1


def test_earlier_results_are_replaced_only_when_asked_and_other_files_stay(
    folder: Path, fitted_file: Make, run_client: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    arguments = ("predict", "--model", fitted_file(), "--images", folder, "--out", out)
    assert run_client(*arguments).exit_code == 0
    again = run_client(*arguments)
    assert again.exit_code == EXISTS
    assert "holds masks, overlay.html, predictions.json" in again.stderr
    (folder / "deep" / "b.bmp").unlink()
    assert run_client(*arguments, "--overwrite").exit_code == 0
    assert not (out / "masks" / "deep").exists()
    assert (out / "thesis.tex").read_text() == "years of work"
    assert {path.name for path in out.iterdir()} <= {*RESULTS, "thesis.tex", ".lock"}


def test_results_may_go_into_the_folder_of_the_images_but_not_the_other_way_round(
    folder: Path, fitted_file: Make, run_client: Run
) -> None:
    model = fitted_file()
    assert run_client("predict", "--model", model, "--images", folder, "--out", folder / "out").exit_code == 0
    again = run_client("predict", "--model", model, "--images", folder, "--out", folder / "out", "--overwrite")
    assert again.exit_code == 0
    assert predicted(folder / "out")["counts"]["images"] == 3
    for out in (folder, folder.parent):
        refused = run_client("predict", "--model", model, "--images", folder, "--out", out)
        assert refused.exit_code == CONFIGURATION
        assert "results would lie among them" in refused.stderr


@pytest.mark.parametrize(
    ("kind", "threshold", "words"),
    [
        ("segmentation", "1.5", "--threshold must lie between 0 and 1"),
        ("segmentation", "nan", "--threshold must lie between 0 and 1"),
        ("classification", "0.5", "--threshold is for masks; this model is for classification"),
    ],
)
def test_a_threshold_that_makes_no_sense(
    kind: str, threshold: str, words: str, folder: Path, fitted_file: Make, run_client: Run, tmp_path: Path
) -> None:
    arguments = ("--model", fitted_file(kind), "--images", folder, "--out", tmp_path / "out", "--threshold", threshold)
    result = run_client("predict", *arguments)
    assert result.exit_code == CONFIGURATION
    assert words in result.stderr


def test_what_is_no_model_is_refused_by_name(folder: Path, weights_file: Path, run_client: Run, tmp_path: Path) -> None:
    for model in (weights_file, folder / "a.png", tmp_path / "absent.safetensors"):
        result = run_client("predict", "--model", model, "--images", folder, "--out", tmp_path / "out")
        assert result.exit_code == CHECKPOINT
        assert str(model) in result.stderr
        assert "give the model.safetensors that `usfm-client finetune` wrote" in result.stderr
        assert "remove it" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_another_process_writes_is_left_alone(
    folder: Path, fitted_file: Make, run_client: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run_client("predict", "--model", fitted_file(), "--images", folder, "--out", out)
    assert result.exit_code == EXISTS
    assert "in use by another process" in result.stderr


def test_a_place_that_cannot_be_written_is_told(
    folder: Path, fitted_file: Make, run_client: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = run_client("predict", "--model", fitted_file(), "--images", folder, "--out", tmp_path / "file" / "out")
    assert result.exit_code == CONFIGURATION
    assert "choose another --out FOLDER" in result.stderr


def test_names_from_the_disk_are_text_and_never_markup(fitted_file: Make, run_client: Run, tmp_path: Path) -> None:
    images = tmp_path / "images"
    put_image(images / "<script>alert(1)<.png")
    (images / "<script>alert(1)<.png").replace(images / os.fsdecode(b"<script>\xff.png"))
    result = run_client("predict", "--model", fitted_file(), "--images", images, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    sheet = (tmp_path / "out" / "overlay.html").read_text()
    assert "<script" not in sheet
    assert "&lt;script&gt;\ufffd.png" in sheet
