"""Segmentation: overlap, distance of boundaries, sensitivity and specificity, and a rule for empty masks.

    Dice = 2 TP / (2 TP + FP + FN)      IoU = TP / (TP + FP + FN)
    sensitivity = TP / (TP + FN)        specificity = TN / (TN + FP)

over the pixels of an image; then the mean of a patient's images, then the mean of the patients. Dice is that of
`core.evaluation.dice`, the one definition of this project; IoU and HD95 are MONAI's.

HD95 is MONAI's 95th percentile of the Hausdorff distance, not directed: the larger of two directed distances, each the
95th percentile (linear interpolation) of the distances from the boundary pixels of one mask to the nearest boundary
pixel of the other. A boundary pixel belongs to the mask, and one of its four neighbours does not, or lies outside the
image. Distances are Euclidean, between pixel centres. Others pool the distances of both directions before they take
the percentile, which gives smaller numbers as a rule.

Empty masks:

* An image whose true mask is empty is left out of every mean. Such images are counted (`empty_images`), and those of
  them that are predicted empty (`empty_right`).
* Nothing predicted where the true mask is not empty has Dice, IoU and sensitivity 0 by their formulas. No distance is
  defined; it is set to the diagonal of the image, which no real one reaches, and counted (`hd95_penalised`).
* A true mask that fills its image has no specificity, and is left out of that mean.

D. P. Huttenlocher, G. A. Klanderman, W. J. Rucklidge, "Comparing images using the Hausdorff distance", IEEE
Transactions on Pattern Analysis and Machine Intelligence 15(9):850-863, 1993, doi:10.1109/34.232073.
M. J. Cardoso et al., "MONAI: An open-source framework for deep learning in healthcare", arXiv:2211.02701, 2022.
"""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import DataError
from core.evaluation.dice import dice_of_images
from core.evaluation.metrics.estimate import DRAWS, mean_of_patients, means_by_patient
from core.evaluation.metrics.score import PRIMARY, TaskScore

# N images, S side, 2 rows and columns

Masks = NDArray[np.bool_]

PURPOSE = "dice"
"""Of the draws of patients: those of `core.evaluation.dice`, whose intervals these are for the same seed."""


def score_segmentation(
    predicted_NSS: Masks,
    truth_NSS: Masks,
    patients_N: NDArray[np.str_],
    *,
    spacing_N2: NDArray[np.float64] | None,
    seed: int,
    draws: int = DRAWS,
) -> TaskScore:
    """Score predicted masks; `dice` is the primary metric.

    Args:
        predicted_NSS: What is predicted to be inside.
        truth_NSS: What is inside.
        patients_N: The patient of each image.
        spacing_N2: Millimetres from one pixel of these masks to the next, down the rows and along the columns, NaN
            where it is not known; None where it is known of no image. `ImageCache.spacing` gives those of the cache.
        seed: Seed of the bootstrap.
        draws: Bootstrap samples, >= 1.

    Returns:
        `dice`, `iou`, `sensitivity`, `specificity` in [0, 1]; `hd95` in pixels of these masks; `hd95_mm` in
        millimetres, over the images whose spacing is known.

    Raises:
        DataError: Shapes that do not belong together, masks that are not boolean, a spacing that is not above 0.
    """
    unknown_N2 = np.full((len(truth_NSS), 2), np.nan)
    spacing_N2 = unknown_N2 if spacing_N2 is None else np.asarray(spacing_N2, np.float64)
    _check(predicted_NSS, truth_NSS, patients_N, spacing_N2)
    filled_N, found_N = truth_NSS.any(axis=(1, 2)), predicted_NSS.any(axis=(1, 2))
    values = _overlaps(predicted_NSS[filled_N], truth_NSS[filled_N])
    values["hd95"] = hd95_of_images(predicted_NSS[filled_N], truth_NSS[filled_N])
    values["hd95_mm"] = hd95_of_images(predicted_NSS[filled_N], truth_NSS[filled_N], spacing_N2=spacing_N2[filled_N])
    means = {name: means_by_patient(values_N, patients_N[filled_N]) for name, values_N in values.items()}
    absent = _reasons(images=len(truth_NSS), filled=int(filled_N.sum()))
    return TaskScore(
        kind="segmentation",
        primary=PRIMARY["segmentation"],
        metrics={
            name: mean_of_patients(by_patient, purpose=PURPOSE, seed=seed, draws=draws, absent=absent[name])
            for name, by_patient in means.items()
        },
        by_patient=dict(means["dice"]),
        counts={
            "images": len(truth_NSS),
            "patients": len(np.unique(patients_N)),
            "empty_images": int((~filled_N).sum()),
            "empty_right": int((~filled_N & ~found_N).sum()),
            "hd95_penalised": int((filled_N & ~found_N).sum()),
            "images_with_spacing": int(np.isfinite(spacing_N2).all(axis=1).sum()),
        },
    )


def hd95_of_images(
    predicted_NSS: Masks, truth_NSS: Masks, *, spacing_N2: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """95th percentile of the Hausdorff distance of each image, (N,), as the module says.

    Args:
        predicted_NSS: What is predicted to be inside.
        truth_NSS: What is inside.
        spacing_N2: Distance from one pixel to the next, down the rows and along the columns; None for pixels.

    Returns:
        In the unit of the spacing, or in pixels. NaN where the true mask is empty or the spacing is not known.
    """
    images, side = len(truth_NSS), truth_NSS.shape[1:]
    steps_N2 = np.ones((images, 2)) if spacing_N2 is None else spacing_N2
    possible_N = truth_NSS.any(axis=(1, 2)) & np.isfinite(steps_N2).all(axis=1)
    both_N = possible_N & predicted_NSS.any(axis=(1, 2))
    found_N = np.where(possible_N, np.hypot(steps_N2[:, 0] * side[0], steps_N2[:, 1] * side[1]), np.nan)
    if both_N.any():
        found_N[both_N] = _hausdorff(predicted_NSS[both_N], truth_NSS[both_N], steps_N2[both_N])
    return found_N


def _hausdorff(predicted_NSS: Masks, truth_NSS: Masks, spacing_N2: NDArray[np.float64]) -> NDArray[np.float64]:
    """MONAI's distance of masks of which none is empty. It crops each pair to what it fills, which is quick."""
    # Here, so that only who measures distances waits for MONAI, which takes seconds to import.
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    with warnings.catch_warnings():
        # MONAI 1.5 and later call their own function with an argument that they are about to drop.
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        found_N1 = compute_hausdorff_distance(
            torch.from_numpy(predicted_NSS)[:, None],
            torch.from_numpy(truth_NSS)[:, None],
            include_background=True,
            percentile=95,
            spacing=spacing_N2.tolist(),
        )
    return found_N1[:, 0].double().numpy()


def _overlaps(predicted_NSS: Masks, truth_NSS: Masks) -> dict[str, NDArray[np.float64]]:
    """Metrics of pixels, each (N,), of images whose true mask is not empty."""
    from monai.metrics.meaniou import compute_iou  # here for the reason above

    pixels = truth_NSS.shape[1] * truth_NSS.shape[2]
    both_N, true_N, predicted_N = (m.sum(axis=(1, 2)) for m in (predicted_NSS & truth_NSS, truth_NSS, predicted_NSS))
    outside_N = pixels - true_N
    right_outside_N = outside_N - (predicted_N - both_N)
    iou_N1 = compute_iou(torch.from_numpy(predicted_NSS)[:, None], torch.from_numpy(truth_NSS)[:, None])
    return {
        "dice": dice_of_images(predicted_NSS, truth_NSS),
        "iou": iou_N1[:, 0].double().numpy(),
        "sensitivity": both_N / np.maximum(true_N, 1),
        "specificity": np.where(outside_N > 0, right_outside_N / np.maximum(outside_N, 1), np.nan),
    }


def _reasons(*, images: int, filled: int) -> dict[str, str]:
    """Why a metric has no value, where it has none."""
    nothing = "the mask of every test image is empty" if images else "no test image with a mask"
    nothing = "" if filled else nothing
    names = ("dice", "iou", "sensitivity")
    return {
        **dict.fromkeys(names, nothing),
        "specificity": nothing or "every true mask fills its image",
        "hd95": nothing,
        "hd95_mm": nothing or "no image with a mask has a known spacing; give the manifest's column `spacing`",
    }


def _check(
    predicted_NSS: Masks, truth_NSS: Masks, patients_N: NDArray[np.str_], spacing_N2: NDArray[np.float64]
) -> None:
    shape, images = truth_NSS.shape, truth_NSS.shape[:1]
    problems = []
    if len(shape) != 3 or predicted_NSS.shape != shape or patients_N.shape != images:
        problems.append(
            f"predicted masks {predicted_NSS.shape}, true masks {shape} and patients {patients_N.shape} do not belong "
            "together; give (N, S, S) twice and (N,)"
        )
    if predicted_NSS.dtype != np.bool_ or truth_NSS.dtype != np.bool_:
        problems.append(f"masks are {predicted_NSS.dtype} and {truth_NSS.dtype}; compare scores with a threshold first")
    if spacing_N2.shape != (*images, 2):
        problems.append(f"spacing has the shape {spacing_N2.shape}; give rows and columns of each image, (N, 2)")
    elif not (np.isnan(spacing_N2) | ((spacing_N2 > 0) & np.isfinite(spacing_N2))).all():
        problems.append("spacing must be finite and above 0, or NaN where it is not known")
    if problems:
        raise DataError(problems, title="segmentation score")
