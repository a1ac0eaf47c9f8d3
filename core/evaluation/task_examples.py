"""Which test images a page about a task shows, and as what: chosen by a rule, so that nobody picks the nice ones.

Shape legend: N images, S side of the pictures, K classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.evaluation.dice import dice_of_images
from core.evaluation.metrics.estimate import means_by_patient
from core.evaluation.overlay import data_address, overlay
from core.evaluation.pictures import grey_png
from core.evaluation.task_page import TaskExample

RANKS = ("Best", "In the middle", "Worst")
OUTLINES = "Outlines: blue is drawn by hand, orange is the model's, white is where both are one."
CLASSES = "Probabilities are the model's; the highest is its choice."
RESTORED = "The model saw the degraded picture only."
LEGENDS = {"segmentation": OUTLINES, "classification": CLASSES, "enhancement": RESTORED}


class Shown(NamedTuple):
    """What one image looks like on the page."""

    note: str
    pictures: Sequence[tuple[str, str]]


def numbered(patients: Sequence[str]) -> dict[str, str]:
    """Patient -> `patient 3 of 41`, so that a page names nobody; numbers follow the alphabet of the names."""
    known = sorted(set(patients))
    return {name: f"patient {place} of {len(known)}" for place, name in enumerate(known, start=1)}


def three_of(by_patient: Mapping[str, float]) -> list[tuple[str, str]]:
    """(rank, patient): the highest value, the one in the middle and the lowest; of equals the first by name.

    Of two patients the best and the worst, of one that one.
    """
    order = sorted(by_patient, key=lambda name: (-by_patient[name], name))
    if len(order) < len(RANKS):
        return list(zip((RANKS[0], RANKS[-1]), order, strict=False))
    return list(zip(RANKS, (order[0], order[len(order) // 2], order[-1]), strict=True))


def examples_of(
    values_N: NDArray[np.float64],
    patients_N: NDArray[np.str_],
    *,
    show: Callable[[int], Shown],
    called: Mapping[str, str],
) -> list[TaskExample]:
    """The best, middle and worst patient, each by the image whose value is nearest to the patient's mean.

    Args:
        values_N: How good the prediction of each image is, more is better; NaN where that cannot be said.
        patients_N: The patient of each image.
        show: Position of an image -> how it is shown.
        called: Patient -> what the page calls him or her.
    """
    by_patient = means_by_patient(values_N, patients_N)
    made = []
    for rank, patient in three_of(by_patient):
        own = np.flatnonzero((patients_N == patient) & ~np.isnan(values_N))
        row = int(own[np.abs(values_N[own] - by_patient[patient]).argmin()])
        note, pictures = show(row)
        more = f" This patient has {len(own)} such images." if len(own) > 1 else ""
        made.append(TaskExample(title=f"{rank}: {called[patient]}", note=note + more, pictures=pictures))
    return made


def dice_values(predicted_NSS: NDArray[np.bool_], truth_NSS: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Dice of each image, NaN where the true mask is empty."""
    return np.where(truth_NSS.any(axis=(1, 2)), dice_of_images(predicted_NSS, truth_NSS), np.nan)


def show_masks(
    image_SS: NDArray[np.uint8], truth_SS: NDArray[np.bool_], predicted_SS: NDArray[np.bool_], *, dice: float
) -> Shown:
    """The image, the mask drawn by hand, the model's, and both."""
    rows = (
        ("image", None, None),
        ("drawn by hand", truth_SS, None),
        ("the model's", None, predicted_SS),
        ("both", truth_SS, predicted_SS),
    )
    pictures = [
        (label, data_address(overlay(image_SS, truth_HW=truth, predicted_HW=own))) for label, truth, own in rows
    ]
    empty = "" if predicted_SS.any() else " The model found nothing here."
    return Shown(f"Dice {dice:.2f} in this image.{empty}", pictures)


def show_class(
    image_SS: NDArray[np.uint8], label: int, probability_K: NDArray[np.floating], *, classes: Sequence[str]
) -> Shown:
    """The image, with what it is and what the model takes it for."""
    chosen = int(probability_K.argmax())
    rated = ", ".join(f"{name} {value:.2f}" for name, value in zip(classes, probability_K.tolist(), strict=True))
    verdict = "right" if chosen == label else f"wrong, taken for {classes[chosen]}"
    picture = data_address(overlay(image_SS, truth_HW=None, predicted_HW=None))
    return Shown(f"It is {classes[label]}: {verdict}. Probabilities: {rated}.", [("image", picture)])


def show_restored(
    clean_SS: NDArray[np.float32], degraded_SS: NDArray[np.float32], restored_SS: NDArray[np.float32], *, gain: float
) -> Shown:
    """The degraded image that the model saw, what it made of it, and the clean one; each in [0, 1]."""
    pictures = (("degraded", degraded_SS), ("restored", restored_SS), ("clean", clean_SS))
    return Shown(f"Gain of PSNR {gain:+.1f} dB in this image.", [(name, grey_png(own)) for name, own in pictures])
