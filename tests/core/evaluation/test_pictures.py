"""Example pictures and their spectra."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from core.errors import DataError
from core.evaluation.pictures import Example, centred_passed, difference_png, grey_png, pixels, spectra


def _pixels(address: str) -> np.ndarray:
    head, data = address.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def _example(reconstructed: np.ndarray, **other: object) -> Example:
    flat = np.full((4, 4), 0.5)
    return Example(organ="liver", arm="federated", original=flat, corrupted=flat, reconstructed=reconstructed, **other)


def test_brightness_becomes_eight_bits_and_what_is_outside_is_cut() -> None:
    picture = np.array([[0.0, 1.0], [-3.0, 7.0], [0.2, np.nan]])
    assert _pixels(grey_png(picture)).tolist() == [[0, 255], [0, 255], [51, 0]]


def test_right_is_white_too_bright_orange_and_too_dark_violet() -> None:
    reconstructed = np.full((4, 4), 0.5)
    reconstructed[0, 0], reconstructed[0, 1] = 1.0, 0.0
    colours = _pixels(difference_png(_example(reconstructed))).astype(int)
    assert np.ptp(colours[2, 2]) < 6
    assert colours[2, 2].min() > 240
    bright, dark = colours[0, 0], colours[0, 1]
    assert bright[0] > bright[2]
    assert dark[2] > dark[0]


@pytest.mark.parametrize("side", [7, 8])
def test_the_half_plane_of_a_real_transform_unfolds_to_the_whole_one(side: int) -> None:
    # Stopping frequencies in half a plane and inverting must equal stopping the unfolded ones in the whole plane.
    rng = np.random.default_rng(0)
    image = rng.random((side, side))
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    passed = (radius < 0.2) | (radius > 0.35)
    expected = np.fft.irfft2(np.fft.rfft2(image) * passed, s=(side, side))
    whole = np.fft.ifft2(np.fft.fft2(image) * np.fft.ifftshift(centred_passed(passed)))
    np.testing.assert_allclose(whole.real, expected, atol=1e-12)
    np.testing.assert_allclose(whole.imag, 0, atol=1e-12)


def test_frequency_zero_is_in_the_middle() -> None:
    passed = np.zeros((8, 5))
    passed[0, 0] = 1
    assert np.argwhere(centred_passed(passed)).tolist() == [[4, 4]]


@pytest.mark.parametrize("ring_mask", [None, np.ones((4, 3))])
def test_rings_are_drawn_only_where_some_are_stopped(ring_mask: np.ndarray | None) -> None:
    stopped = np.ones((4, 3))
    stopped[1, 1] = 0
    orange = "#f0a000"
    ringed, plain = (spectra([_example(np.full((4, 4), 0.4), ring_mask=mask)]) for mask in (stopped, ring_mask))
    assert ringed is not None
    assert plain is not None
    assert orange in ringed.markup
    assert orange not in plain.markup


def test_without_examples_there_are_no_spectra() -> None:
    assert spectra([]) is None
    assert pixels([], "") is None


def test_pictures_give_their_numbers_a_line_a_row_of_pixels() -> None:
    drawing = pixels([_example(np.arange(16.0).reshape(4, 4) / 16)], "<p></p>")
    assert drawing is not None
    lines = drawing.csv().splitlines()
    assert lines[0] == "organ,picture,row,column_0,column_1,column_2,column_3"
    assert lines[1] == "liver,original,0,0.5,0.5,0.5,0.5"
    assert lines[-1] == "liver,reconstructed,3,0.75,0.8125,0.875,0.9375"
    assert len(lines) == 1 + 3 * 4  # original, corrupted, reconstructed; nothing was filtered


def test_a_constant_picture_has_its_whole_magnitude_at_frequency_zero() -> None:
    drawing = spectra([_example(np.full((4, 4), 0.5))])
    assert drawing is not None
    assert drawing.csv().splitlines()[3] == "liver,original,2,0,0,2,0"  # 16 * 0.5 / sqrt(16)


def test_pictures_of_unlike_size_are_refused() -> None:
    with pytest.raises(DataError, match="not all square"):
        _example(np.zeros((4, 5)))
    with pytest.raises(DataError, match="ring mask"):
        _example(np.zeros((4, 4)), ring_mask=np.ones((4, 4)))
