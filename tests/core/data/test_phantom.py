"""The built-in data set: what lies in its folder, that it follows from the seed, and that it is written whole."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.manifest import load_manifest
from core.data.organs import organ_names
from core.data.phantom import build_phantom, render
from core.data.phantom_devices import DEVICES, LESION_ORGANS, ORGANS
from core.errors import ConfigError, DataError

SIZE = {"seed": 5, "patients_per_organ": 4, "frames": 2, "side": 64, "devices": 3}


def _rows(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="") as file:
        return list(csv.DictReader(file))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_phantom(tmp_path_factory.mktemp("phantom") / "set", **SIZE)


def test_every_row_names_an_image_of_the_asked_side_and_a_mask_of_the_same(built: Path) -> None:
    rows = _rows(built)
    assert len(rows) == 6 * 4 * 2  # organs * patients * frames
    for row in rows:
        with Image.open(built.parent / row["image"]) as image:
            assert (image.mode, image.size) == ("L", (64, 64))
        if row["mask"]:
            with Image.open(built.parent / row["mask"]) as mask:
                assert (mask.mode, mask.size) == ("L", (64, 64))
                assert set(np.unique(np.asarray(mask))) <= {0, 255}


def test_a_mask_is_empty_exactly_where_the_case_is_normal(built: Path) -> None:
    for row in _rows(built):
        if row["organ"] in LESION_ORGANS:
            mask = np.asarray(Image.open(built.parent / row["mask"]))
            assert mask.any() == (row["label"] != "normal")
        elif row["organ"] == "carotid":
            assert np.asarray(Image.open(built.parent / row["mask"])).any()
        else:
            assert row["mask"] == ""


def test_labels_sites_and_licence_follow_the_contract(built: Path) -> None:
    rows = _rows(built)
    assert {row["organ"] for row in rows} == set(ORGANS)
    assert {(row["dataset"], row["licence"]) for row in rows} == {("phantom", "CC0-1.0")}
    assert {row["label"] for row in rows if row["organ"] in LESION_ORGANS} == {"normal", "benign", "malignant"}
    assert {row["label"] for row in rows if row["organ"] not in LESION_ORGANS} == {""}
    site_of = {device.name: device.site for device in DEVICES}
    assert all(row["site"] == site_of[row["device"]] for row in rows)


def test_the_manifest_loads_and_counts_every_patient(built: Path) -> None:
    assert set(ORGANS) <= set(organ_names())
    assert load_manifest(built).patients_by_organ() == dict.fromkeys(ORGANS, 4)


def test_a_patient_keeps_organ_label_and_device_over_the_frames(built: Path) -> None:
    rows = _rows(built)
    facts = {(row["patient"], row["organ"], row["label"], row["device"]) for row in rows}
    assert len(facts) == len({row["patient"] for row in rows}) == 6 * 4


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(built: Path, tmp_path: Path) -> None:
    again = build_phantom(tmp_path / "again", **SIZE)
    other = build_phantom(tmp_path / "other", **(SIZE | {"seed": 6}))
    assert _files(again.parent) == _files(built.parent)
    first = _rows(built)[0]["image"]
    assert (other.parent / first).read_bytes() != (built.parent / first).read_bytes()


def test_more_patients_and_frames_leave_the_earlier_ones_as_they_were(built: Path, tmp_path: Path) -> None:
    larger = build_phantom(tmp_path / "larger", **(SIZE | {"patients_per_organ": 5, "frames": 3}))
    before, after = _files(built.parent), _files(larger.parent)
    pictures = {name for name in before if name.endswith(".png")}
    assert len(pictures) == 6 * 4 * 2 + 4 * 4 * 2  # images, and masks of the three lesion organs and the carotid
    assert all(after[name] == before[name] for name in pictures)
    rows = {row["image"]: row for row in _rows(larger)}
    assert all(rows[row["image"]] == row for row in _rows(built))


def test_equal_parameters_reuse_the_folder_and_others_replace_it(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    small = SIZE | {"patients_per_organ": 1, "frames": 1, "side": 32}
    manifest = build_phantom(tmp_path / "set", **small, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(number, 6) for number in range(1, 7)]
    written = manifest.stat().st_mtime_ns
    build_phantom(tmp_path / "set", **small, progress=lambda done, total: calls.append((done, total)))
    assert len(calls) == 6
    assert manifest.stat().st_mtime_ns == written
    build_phantom(tmp_path / "set", **(small | {"frames": 2}))
    assert len(_rows(manifest)) == 12
    assert json.loads((tmp_path / "set" / "phantom.json").read_text())["frames"] == 2


def test_a_folder_of_another_schema_version_is_built_anew(tmp_path: Path) -> None:
    small = SIZE | {"patients_per_organ": 1, "frames": 1, "side": 32}
    manifest = build_phantom(tmp_path / "set", **small)
    parameters = tmp_path / "set" / "phantom.json"
    parameters.write_text(json.dumps(json.loads(parameters.read_text()) | {"schema_version": 0}))
    manifest.write_text("old")
    assert len(_rows(build_phantom(tmp_path / "set", **small))) == 6


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="something else than a phantom"):
        build_phantom(tmp_path / "set", **SIZE)
    assert (tmp_path / "set" / "thesis.txt").read_text() == "mine"


def test_a_build_that_is_stopped_leaves_no_folder_and_the_next_one_is_whole(tmp_path: Path) -> None:
    small = SIZE | {"patients_per_organ": 1, "frames": 1, "side": 32}

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_phantom(tmp_path / "set", **small, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == [".set.lock"]
    (tmp_path / ".set.part").mkdir()  # as a kill would leave it
    assert len(_rows(build_phantom(tmp_path / "set", **small))) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == [".set.lock", "set"]


def test_what_cannot_be_written_is_a_data_error_that_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written to"):
        build_phantom(tmp_path / "file" / "set", **SIZE)


def test_every_parameter_out_of_range_is_listed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        build_phantom(tmp_path / "set", seed=0, patients_per_organ=0, frames=0, side=8, devices=6)
    assert len(caught.value.problems) == 4
    assert not (tmp_path / "set").exists()


def test_frames_show_the_same_anatomy_from_elsewhere_with_new_speckle() -> None:
    """Smoothed until speckle is gone, two frames of a patient are more alike than two patients."""
    options = {"seed": 1, "side": 64, "device": DEVICES[0], "case": ""}

    def coarse(patient: int, frame: int) -> np.ndarray:
        image = render("kidney", patient=patient, frame=frame, **options).image
        return image.reshape(8, 8, 8, 8).mean((1, 3)).ravel()

    same = [np.corrcoef(coarse(p, 0), coarse(p, 1))[0, 1] for p in range(5)]
    assert not np.array_equal(
        render("kidney", patient=0, frame=0, **options).image, render("kidney", patient=0, frame=1, **options).image
    )
    different = [np.corrcoef(coarse(p, 0), coarse(p + 1, 0))[0, 1] for p in range(5)]
    assert np.mean(same) > np.mean(different)


@pytest.mark.parametrize("organ", LESION_ORGANS)
def test_malignant_masks_are_taller_than_wide_and_rougher_than_benign_ones(organ: str) -> None:
    """Roughness is the number of pixel edges along the margin over those of its box: 1 if convex, else more."""

    def shape(case: str, patient: int) -> tuple[float, float]:
        mask = render(organ, seed=2, patient=patient, frame=0, side=128, device=DEVICES[0], case=case).mask
        assert mask is not None
        inside = np.pad(mask > 0, 1)
        rows, columns = np.nonzero(inside)
        edges = np.sum(inside[1:] != inside[:-1]) + np.sum(inside[:, 1:] != inside[:, :-1])
        box = 2 * (np.ptp(rows) + 1 + np.ptp(columns) + 1)
        return float(np.std(rows) / np.std(columns)), float(edges / box)

    benign = np.array([shape("benign", patient) for patient in range(6)])
    malignant = np.array([shape("malignant", patient) for patient in range(6)])
    assert benign[:, 0].max() < 1 < malignant[:, 0].min()
    assert benign[:, 1].mean() < malignant[:, 1].mean()


@pytest.mark.parametrize(("case", "sign"), [("benign", 1), ("malignant", -1)])
def test_behind_a_benign_lesion_it_is_brighter_and_behind_a_malignant_one_darker(case: str, sign: int) -> None:
    """The strip below the lesion against the same strip of the same frame without lesion (same speckle, same probe)."""
    gains = []
    for patient in range(6):
        frame = {"seed": 3, "patient": patient, "frame": 0, "side": 128, "device": DEVICES[0]}
        ill, well = render("breast", case=case, **frame), render("breast", case="normal", **frame)
        assert ill.mask is not None
        rows, columns = np.nonzero(ill.mask)
        strip = np.s_[rows.max() + 4 : rows.max() + 20, int(columns.mean()) - 3 : int(columns.mean()) + 4]
        gains.append(ill.image[strip].mean() - well.image[strip].mean())
    assert min(sign * gain for gain in gains) > 0


def test_organs_are_told_apart_by_a_nearest_mean_on_coarse_images() -> None:
    """One device, so that geometry alone cannot tell breast, thyroid and carotid, or liver and kidney, apart."""
    images, organs = [], []
    for organ in ORGANS:
        case = "normal" if organ in LESION_ORGANS else ""
        for patient in range(10):
            image = render(organ, seed=4, patient=patient, frame=0, side=64, device=DEVICES[0], case=case).image
            images.append(image.reshape(16, 4, 16, 4).mean((1, 3)).ravel())
            organs.append(organ)
    features, names = np.array(images), np.array(organs)
    test = np.arange(len(names)) % 2 == 1
    means = {organ: features[~test & (names == organ)].mean(0) for organ in ORGANS}
    guesses = [min(ORGANS, key=lambda organ: np.sum((row - means[organ]) ** 2)) for row in features[test]]
    assert np.mean(np.array(guesses) == names[test]) > 0.7  # 1/6 by chance
