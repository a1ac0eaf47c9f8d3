"""Outlines lie on the edge of what they ring, and say whose they are."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from core.errors import DataError
from core.evaluation.overlay import BOTH, LEAST, PREDICTED, TRUTH, data_address, overlay, photo_address

GREY = np.full((LEAST, LEAST), 100, np.uint8)


def _box(low: int, high: int) -> np.ndarray:
    mask = np.zeros((LEAST, LEAST), np.bool_)
    mask[low:high, low:high] = True
    return mask


def test_an_outline_is_two_pixels_of_the_mask_and_the_rest_stays() -> None:
    drawn = overlay(GREY, truth_HW=_box(50, 100), predicted_HW=None)
    assert tuple(drawn[50, 70]) == tuple(drawn[51, 70]) == TRUTH
    assert tuple(drawn[52, 70]) == tuple(drawn[49, 70]) == (100, 100, 100)
    # A ring of 50 x 50 around 46 x 46.
    assert (drawn == TRUTH).all(axis=2).sum() == 50**2 - 46**2


def test_each_mask_has_its_colour_and_what_both_share_is_white() -> None:
    drawn = overlay(GREY, truth_HW=_box(50, 100), predicted_HW=_box(50, 120))
    assert tuple(drawn[99, 70]) == TRUTH
    assert tuple(drawn[119, 70]) == PREDICTED
    assert tuple(drawn[50, 70]) == BOTH


def test_a_small_image_is_enlarged_and_its_aspect_kept() -> None:
    drawn = overlay(np.zeros((20, 40), np.uint8), truth_HW=None, predicted_HW=None)
    assert drawn.shape == (140, 280, 3)  # 256 / 40 is 6.4, so 7 times


def test_a_mask_that_reaches_the_edge_is_not_ringed_there_and_an_empty_one_not_at_all() -> None:
    whole = overlay(GREY, truth_HW=np.ones_like(GREY, np.bool_), predicted_HW=np.zeros_like(GREY, np.bool_))
    assert (whole == 100).all()


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(DataError, match=r"the image is \(256, 256\), the masks \(4, 4\)"):
        overlay(GREY, truth_HW=np.ones((4, 4), np.bool_), predicted_HW=None)


def test_an_address_holds_the_pixels() -> None:
    pixels = overlay(GREY, truth_HW=_box(0, 9), predicted_HW=None)
    kind, _, packed = data_address(pixels).partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(packed))) as image:
        assert (np.asarray(image) == pixels).all()


def test_a_photo_is_nearly_the_pixels_and_smaller() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    kind, _, packed = photo_address(pixels).partition(",")
    assert kind == "data:image/jpeg;base64"
    assert len(packed) < len(data_address(pixels)) / 2
