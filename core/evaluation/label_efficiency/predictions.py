"""Example predictions of the report: one test patient a task and budget, what every arm made of the patient's image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from core.errors import DataError
from core.evaluation.formats import NONE, share, words
from core.evaluation.label_efficiency.budgets import Budget, budget_label
from core.evaluation.label_efficiency.cells import Cell, score
from core.evaluation.label_efficiency.design import FLOOR
from core.evaluation.label_efficiency.looks import arm_name
from core.evaluation.pictures import Picture, colour_png, grey_png
from core.evaluation.report_page import text

# S image side, E side of the enlarged picture

RULE = (
    "Not picked by eye: of each task the test patient whose score from random weights, first draw, with the most "
    "labelled patients shown is the median of all test patients (the lower of two); the patient's first image by name."
)
"""What `median_patient` does, for the caption; the image is the caller's part."""

TRUTH, PREDICTION = (0.94, 0.89, 0.26), (0.34, 0.71, 0.91)
"""Yellow and sky blue of Okabe and Ito: both stand out on grey, for colour-blind readers too."""
SHOWN_SIDE = 256
"""Pixels that a picture is enlarged to at least, so that an outline is thin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What one arm made of the image; at least one of the mask, the picture and the words."""

    score: float | None = None
    """Of this image or patient, in the task's primary metric; None where it has none."""
    mask_SS: NDArray[np.bool_] | None = None
    """Segmentation: what is inside."""
    picture_SS: Picture | None = None
    """Enhancement: the restored image in [0, 1], shown instead of the input."""
    said: str = ""
    """Classification: the predicted class, with its probability where wanted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One test image with the truth and every arm's prediction; arrays are (S, S), images in [0, 1]."""

    task: str
    patient: str
    """For messages; no page shows it."""
    budget: Budget
    image_SS: Picture
    truth_SS: NDArray[np.bool_] | None = None
    """Segmentation: the annotated mask."""
    target_SS: Picture | None = None
    """Enhancement: the undegraded image."""
    truth: str = ""
    """Classification: the class."""
    predicted: Mapping[str, Prediction]
    """Arm -> prediction, in the order in which they are shown."""

    def __post_init__(self) -> None:
        """Check the shapes."""
        side = self.image_SS.shape[0]
        arrays = [self.image_SS, self.truth_SS, self.target_SS]
        arrays += [array for one in self.predicted.values() for array in (one.mask_SS, one.picture_SS)]
        if any(array.shape != (side, side) for array in arrays if array is not None):
            raise DataError(f"report: the pictures of example {self.task}, patient {self.patient} are not all square "
                            "and of one size")  # fmt: skip


def median_patient(cells: Sequence[Cell], *, task: str, budget: Budget = 32, draw: int = 0) -> str | None:
    """The test patient whose score from random weights is the median; of two, the lower, then the first by name.

    None where that cell has no value. A patient of a classification counts the mean over classes of right / total.
    """
    wanted = (task, FLOOR, budget, draw)
    for cell in cells:
        if (cell.task, cell.arm, cell.budget, cell.draw) == wanted and cell.value is not None:
            ranked = sorted(cell.by_patient, key=lambda name: (score({name: cell.by_patient[name]}), name))
            return ranked[(len(ranked) - 1) // 2]
    return None


def example_row(example: Example) -> str:
    """The pictures of one example as HTML: the image with the truth, then every arm's prediction."""
    cells = [_picture(example, f"image{_said(example.truth)}", grey_png(example.image_SS))]
    if example.truth_SS is not None:
        cells = [_picture(example, "annotated", outlined(example.image_SS, example.truth_SS, None))]
    if example.target_SS is not None:
        cells.append(_picture(example, "undegraded", grey_png(example.target_SS)))
    for arm, one in example.predicted.items():
        shown = example.image_SS if one.picture_SS is None else one.picture_SS
        value = f" {share(one.score)}" if one.score is not None else "" if one.said else f" {NONE}"
        cells.append(_picture(example, f"{arm_name(arm)}{value}{_said(one.said)}",
                              outlined(shown, example.truth_SS, one.mask_SS)))  # fmt: skip
    heading = f"{words(example.task)}, {budget_label(example.budget)}"
    columns = f"--n: {max(len(cells), 4)}; --m: 2"  # on a screen; on a phone
    return f'<h3>{text(heading)}</h3>\n<div class="row" style="{columns}">{"".join(cells)}</div>'


def _said(words_: str) -> str:
    return f": {words_}" if words_ else ""


def _picture(example: Example, name: str, source: str) -> str:
    return f'<div><img src="{source}" alt="{text(f"{words(example.task)}, {name}")}">{text(name)}</div>'


def outlined(image_SS: Picture, truth_SS: NDArray[np.bool_] | None, predicted_SS: NDArray[np.bool_] | None) -> str:
    """A `data:` address of the image, enlarged by a whole factor, with outlines: the truth yellow, a prediction blue.

    Outlines run inside the mask's edge, two pixels of the enlarged picture wide for the truth and five for the
    prediction, which lies below, so that both are seen where they meet.
    """
    factor = -(-SHOWN_SIDE // image_SS.shape[0])
    grey_EE = np.kron(np.nan_to_num(np.asarray(image_SS, np.float64)), np.ones((factor, factor)))
    colour_EEC: NDArray[np.float64] = np.repeat(grey_EE[..., None], 3, axis=2)
    for mask_SS, colour, width in ((predicted_SS, PREDICTION, 5), (truth_SS, TRUTH, 2)):
        if mask_SS is not None:
            mask_EE = np.kron(np.asarray(mask_SS, bool), np.ones((factor, factor), bool))
            colour_EEC[mask_EE & ~ndimage.binary_erosion(mask_EE, iterations=width)] = colour
    return colour_png(colour_EEC)
