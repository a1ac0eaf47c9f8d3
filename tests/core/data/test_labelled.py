"""Which rows of a manifest a task is about, and what is kept of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.cache import ImageCache, open_cache
from core.data.labelled import Labelled, labelled_images
from core.data.manifest import Manifest, Record
from core.errors import DataError
from core.training.task import Task


@pytest.fixture
def opened(tmp_path: Path) -> tuple[Manifest, ImageCache]:
    """Six rows, each image of one grey level; two have masks."""
    rows = [  # organ, label, data set, mask
        ("breast", "benign", "one", True),
        ("breast", "malignant", "one", False),
        ("breast", "", "one", True),
        ("breast", "cyst", "two", False),
        ("liver", "benign", "one", False),
        ("liver", "", "two", False),
    ]
    records = []
    for number, (organ, label, dataset, mask) in enumerate(rows):
        image = tmp_path / f"{number}.png"
        pixels = np.full((8, 8), 10 * number + 10, np.uint8)
        pixels[0] += 1  # decoders refuse an image without contrast
        Image.fromarray(pixels).save(image)
        outline = None
        if mask:
            outline = tmp_path / f"{number}-mask.png"
            Image.fromarray(np.tri(8, dtype=np.uint8) * 255).save(outline)
        records.append(Record(image=image, organ=organ, patient=f"p{number // 2}", label=label, dataset=dataset,
                              mask=outline))  # fmt: skip
    manifest = Manifest(path=tmp_path / "manifest.csv", records=tuple(records))
    return manifest, open_cache(manifest, folder=tmp_path / "cache", side=8)


def files(labelled: Labelled) -> list[str]:
    assert labelled.names_N is not None
    return [str(name) for name in labelled.names_N]


def test_segmentation_takes_rows_with_masks(opened: tuple[Manifest, ImageCache]) -> None:
    labelled = labelled_images(Task(kind="segmentation", dataset="one"), *opened, range(6))
    assert files(labelled) == ["0.png", "2.png"]
    assert labelled.masks_NSS is not None
    assert labelled.masks_NSS[0].tolist() == np.tri(8, dtype=np.uint8).tolist()
    assert labelled.labels_N is None


def test_classification_takes_rows_of_its_classes_and_numbers_them(opened: tuple[Manifest, ImageCache]) -> None:
    task = Task(kind="classification", classes=["malignant|cyst", "benign"])
    labelled = labelled_images(task, *opened, range(6))
    assert files(labelled) == ["0.png", "1.png", "3.png", "4.png"]
    assert labelled.labels_N is not None
    assert labelled.labels_N.tolist() == [1, 0, 0, 1]
    assert labelled.patients_N.tolist() == ["p0", "p0", "p1", "p2"]
    assert files(labelled_images(replace(task, organ="liver"), *opened, range(6))) == ["4.png"]
    organs = Task(kind="classification", column="organ", classes=["liver", "breast"])
    assert labelled_images(organs, *opened, [5, 0]).labels_N.tolist() == [0, 1]  # type: ignore[union-attr]


def test_enhancement_takes_every_row_of_its_data(opened: tuple[Manifest, ImageCache]) -> None:
    labelled = labelled_images(Task(kind="enhancement", dataset="two"), *opened, range(6))
    assert files(labelled) == ["3.png", "5.png"]
    assert (labelled.masks_NSS, labelled.labels_N) == (None, None)
    assert labelled.images_NSS[:, 4, 4].tolist() == [40, 60]


def test_an_image_is_named_from_its_manifest(opened: tuple[Manifest, ImageCache]) -> None:
    manifest, cache = opened
    for path, name in ((manifest.path.parent.parent / "m.csv", f"{manifest.path.parent.name}/0.png"),
                       (manifest.path.parent / "elsewhere" / "m.csv", "0.png")):  # fmt: skip
        moved = Manifest(path=path, records=manifest.records)
        assert files(labelled_images(Task(kind="enhancement"), moved, cache, [0])) == [name]


def test_a_task_without_a_row_gives_no_image(opened: tuple[Manifest, ImageCache]) -> None:
    for kind, classes in (("segmentation", []), ("classification", ["a", "b"]), ("enhancement", [])):
        labelled = labelled_images(Task(kind=kind, classes=classes, dataset="three"), *opened, range(6))
        assert (len(labelled), labelled.images_NSS.shape) == (0, (0, 8, 8))


def test_parts_keep_what_belongs_to_an_image(opened: tuple[Manifest, ImageCache]) -> None:
    task = Task(kind="classification", classes=["benign", "malignant", "cyst"])
    labelled = labelled_images(task, *opened, range(6))
    assert files(labelled.of(["p1", "p2", "nobody"])) == ["3.png", "4.png"]
    turned = labelled.at(np.array([3, 0]))
    assert files(turned) == ["4.png", "0.png"]
    assert turned.labels_N is not None
    assert turned.labels_N.tolist() == [0, 0]
    assert turned.images_NSS[:, 4, 4].tolist() == [50, 10]


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    images, patients = np.zeros((2, 4, 4), np.uint8), np.array(["a", "b"])
    for wrong in (
        {"patients_N": patients[:1]},
        {"masks_NSS": np.zeros((2, 4, 5), np.uint8)},
        {"labels_N": np.zeros(3, np.int64)},
        {"names_N": np.array(["a"])},
        {"images_NSS": images[0]},
    ):
        with pytest.raises(DataError, match="give one patient"):
            Labelled(**{"images_NSS": images, "patients_N": patients, **wrong})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="masks hold 255; give 0 and 1 only"):
        Labelled(images_NSS=images, patients_N=patients, masks_NSS=np.full((2, 4, 4), 255, np.uint8))
