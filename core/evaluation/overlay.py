"""Outlines of masks on a grey image, for pages that are read without Python.

Truth is drawn in blue, a prediction in orange and what both share in white: colours of Okabe and Ito, told apart by
colour-blind readers and bright enough on ultrasound.

Shape legend: H W image sides, C the three colours.
"""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from core.errors import DataError

TRUTH, PREDICTED, BOTH = (86, 180, 233), (230, 159, 0), (255, 255, 255)
LEAST = 256
"""Pixels of a shown image's longer side: a smaller one is enlarged, so that an outline is thin beside what it rings."""


def overlay(
    image_HW: NDArray[np.uint8], *, truth_HW: NDArray[np.bool_] | None, predicted_HW: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """The image in colour, (H', W', 3), enlarged by a whole number when small, with the outlines of the masks.

    Args:
        image_HW: 0 to 255.
        truth_HW: The mask drawn by hand; None where there is none.
        predicted_HW: The model's mask; None leaves it out.

    Raises:
        DataError: A mask is not of the image's size.
    """
    masks = [mask for mask in (truth_HW, predicted_HW) if mask is not None]
    if any(mask.shape != image_HW.shape for mask in masks):
        shapes = ", ".join(str(mask.shape) for mask in masks)
        raise DataError(f"overlay: the image is {image_HW.shape}, the masks {shapes}; give them one size")
    factor = max(1, -(-LEAST // max(image_HW.shape)))
    height, width = (factor * side for side in image_HW.shape)
    large = Image.fromarray(image_HW).resize((width, height), Image.Resampling.BILINEAR)
    colour_HWC = np.repeat(np.asarray(large)[:, :, None], 3, axis=2)
    none = np.zeros((height, width), np.bool_)
    truth, predicted = (none if m is None else _outline(m, factor=factor) for m in (truth_HW, predicted_HW))
    colour_HWC[truth] = TRUTH
    colour_HWC[predicted] = PREDICTED
    colour_HWC[truth & predicted] = BOTH
    return colour_HWC


def _outline(mask_HW: NDArray[np.bool_], *, factor: int) -> NDArray[np.bool_]:
    """Pixels of the enlarged mask that touch what is outside; two pixels thick, the image's edge is no outside."""
    large_HW = np.repeat(np.repeat(mask_HW.astype(np.bool_), factor, axis=0), factor, axis=1)
    inner_HW = ndimage.binary_erosion(large_HW, iterations=2, border_value=1)
    return np.asarray(large_HW & ~inner_HW, np.bool_)


def photo_address(pixels: NDArray[np.uint8]) -> str:
    """A `data:` address of a JPEG, several times smaller than a PNG of speckle; for sheets of many images."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def data_address(pixels: NDArray[np.uint8]) -> str:
    """A `data:` address of a PNG of grey (H, W) or colour (H, W, 3) pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
