"""What is made of one image by a fine-tuned model: a mask, a class or an enhanced image, at the size of the original.

Shape legend: E side of the model's input, H W the original's sides, K classes.
"""

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.data.decode import Decoded
from core.evaluation.overlay import LEAST, overlay, photo_address

FOLDERS = {"segmentation": "masks", "enhancement": "enhanced"}
"""Kind of task to the folder that its pictures go to."""


class Made(NamedTuple):
    """One image's prediction."""

    record: dict[str, Any]
    """For `predictions.json`."""
    picture: bytes
    """A PNG of the original's size; empty for a class."""


def mask_of(probability_EE: NDArray[np.float32], *, width: int, height: int, threshold: float) -> Made:
    """A mask of 0 and 255: inside is what lies above the threshold after the map was enlarged."""
    inside_HW = enlarged(probability_EE, width=width, height=height) > threshold
    record = {"share_inside": round(float(inside_HW.mean()), 6), "empty": not inside_HW.any()}
    return Made(record, png(np.where(inside_HW, np.uint8(255), np.uint8(0))))


def class_of(probability_K: NDArray[np.float32], classes: Sequence[str]) -> Made:
    """The most probable class, the first of equals, and the probability of each."""
    rated = {name: round(float(value), 6) for name, value in zip(classes, probability_K, strict=True)}
    return Made({"class": classes[int(probability_K.argmax())], "probabilities": rated}, b"")


def enhanced_of(restored_EE: NDArray[np.float32], *, width: int, height: int) -> Made:
    """A grey image; it holds no finer detail than the model's own size has."""
    return Made({}, png(grey(enlarged(restored_EE, width=width, height=height))))


def enlarged(values_EE: NDArray[np.float32], *, width: int, height: int) -> NDArray[np.float32]:
    """A map of the model's side at another size, (H, W); linear between its pixels."""
    return np.asarray(Image.fromarray(values_EE).resize((width, height), Image.Resampling.BILINEAR), np.float32)


def grey(values_HW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[0, 1] to 0 to 255; what lies outside is cut, what is not finite is black."""
    known_HW = np.nan_to_num(values_HW, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    return np.asarray(np.rint(255 * known_HW), np.uint8)


def png(pixels_HW: NDArray[np.uint8]) -> bytes:
    """A grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels_HW).save(buffer, format="PNG")
    return buffer.getvalue()


def thumbnail(decoded: Decoded) -> NDArray[np.uint8]:
    """A square of pixels at the original's proportions again, its longer side `LEAST` pixels."""
    factor = LEAST / max(decoded.width, decoded.height)
    size = (max(1, round(decoded.width * factor)), max(1, round(decoded.height * factor)))
    return np.asarray(Image.fromarray(decoded.pixels).resize(size, Image.Resampling.BILINEAR), np.uint8)


def pictures_of(
    kind: str, small_HW: NDArray[np.uint8], prediction: NDArray[np.float32], *, threshold: float
) -> list[tuple[str, str]]:
    """Words and `data:` address of what the sheet shows of one image: outline, plain image, or before and after."""
    height, width = small_HW.shape
    plain = photo_address(overlay(small_HW, truth_HW=None, predicted_HW=None))
    if kind == "classification":
        return [("", plain)]
    large_HW = enlarged(prediction, width=width, height=height)
    if kind == "enhancement":
        return [("before", plain), ("after", photo_address(grey(large_HW)))]
    return [("", photo_address(overlay(small_HW, truth_HW=None, predicted_HW=large_HW > threshold)))]
