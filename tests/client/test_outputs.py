"""One prediction to a picture of the original's size, or to a class."""

import io

import numpy as np
import pytest
from PIL import Image

from client.outputs import class_of, enhanced_of, enlarged, grey, mask_of, pictures_of, thumbnail
from core.data.decode import Decoded

HALF = np.repeat(np.array([[0.9, 0.9, 0.1, 0.1]], np.float32), 4, axis=0)
"""Inside on the left, outside on the right."""


def test_a_mask_is_what_lies_above_the_threshold_after_enlarging() -> None:
    made = mask_of(HALF, width=40, height=20, threshold=0.5)
    with Image.open(io.BytesIO(made.picture)) as image:
        mask = np.asarray(image)
    assert mask.shape == (20, 40)
    assert (mask[:, :20] == 255).all()
    assert (mask[:, 20:] == 0).all()
    assert made.record == {"share_inside": 0.5, "empty": False}
    # What equals the threshold is outside, as in `core.evaluation.dice`.
    assert mask_of(np.full((4, 4), 0.5, np.float32), width=8, height=8, threshold=0.5).record["empty"]


def test_the_first_of_equally_probable_classes_is_taken() -> None:
    made = class_of(np.array([0.5, 0.5], np.float32), ["benign", "malignant"])
    assert made.record == {"class": "benign", "probabilities": {"benign": 0.5, "malignant": 0.5}}
    assert made.picture == b""


def test_an_enhanced_image_is_cut_to_what_grey_can_show() -> None:
    assert grey(np.array([[-1.0, 0.5, 2.0, np.nan]], np.float32)).tolist() == [[0, 128, 255, 0]]
    with Image.open(io.BytesIO(enhanced_of(HALF, width=8, height=8).picture)) as image:
        assert (image.size, image.mode) == ((8, 8), "L")


def test_enlarging_keeps_a_flat_map_flat() -> None:
    assert enlarged(np.full((4, 4), 0.25, np.float32), width=9, height=7) == pytest.approx(0.25)


def test_a_thumbnail_has_the_proportions_of_the_original() -> None:
    small = thumbnail(Decoded(np.zeros((256, 256), np.uint8), width=400, height=100))
    assert small.shape == (64, 256)
    assert thumbnail(Decoded(np.zeros((256, 256), np.uint8), width=9000, height=8)).shape == (1, 256)


@pytest.mark.parametrize(("kind", "words"), [("segmentation", [""]), ("classification", [""]),
                                             ("enhancement", ["before", "after"])])  # fmt: skip
def test_each_kind_has_its_pictures(kind: str, words: list[str]) -> None:
    prediction = np.array([0.5, 0.5], np.float32) if kind == "classification" else HALF
    made = pictures_of(kind, np.zeros((64, 256), np.uint8), prediction, threshold=0.5)
    assert [name for name, _ in made] == words
    assert all(address.startswith("data:image/jpeg;base64,") for _, address in made)
