"""Enhancement: how near a restored image is to the clean one, and how much nearer than the degraded one was.

    PSNR = -10 log10(mean squared error of grey levels in [0, 1])      in decibels

and SSIM, both MONAI's, of an image, then the mean of a patient's images, then the mean of the patients. The gains are
differences to the degraded input, image by image, so a model that does nothing gains 0.

PSNR is at most 60: that is about what rounding to 8 bits leaves (58.9 dB), so nothing above it can be told from
perfect, and an image that is restored exactly would have infinity. Such images are counted (`psnr_capped`). SSIM has a
Gaussian window of deviation 1.5 pixels and 11 x 11 pixels, or the largest odd side that fits a smaller image; MONAI
computes it in float32, which is good to about 0.0003 where both images are flat.

Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13(4):600-612, 2004, doi:10.1109/TIP.2003.819861.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import DataError
from core.evaluation.metrics.estimate import DRAWS, mean_of_patients, means_by_patient
from core.evaluation.metrics.score import PRIMARY, TaskScore

# N images, S side, B images at once

Images = NDArray[np.float32]

PURPOSE = "enhancement"
CAP = 60.0
"""Decibels; the largest PSNR."""
WINDOW = 11
"""Pixels, the side of SSIM's window."""
AT_ONCE = 32
"""Images compared together; bounds memory."""


def score_enhancement(
    restored_NSS: Images,
    clean_NSS: Images,
    patients_N: NDArray[np.str_],
    *,
    degraded_NSS: Images,
    seed: int,
    draws: int = DRAWS,
) -> TaskScore:
    """Score restored images; `psnr` is the primary metric.

    Args:
        restored_NSS: What the model made of the degraded images, in [0, 1].
        clean_NSS: The images before they were degraded, in [0, 1].
        patients_N: The patient of each image.
        degraded_NSS: The model's input, in [0, 1].
        seed: Seed of the bootstrap.
        draws: Bootstrap samples, >= 1.

    Returns:
        `psnr` in decibels, `ssim` in [-1, 1]; `psnr_degraded` and `ssim_degraded` of the input; `psnr_gain` and
        `ssim_gain`, restored minus degraded.

    Raises:
        DataError: Shapes that do not belong together, images of fewer than 3 pixels a side, values outside [0, 1].
    """
    _check({"restored": restored_NSS, "clean": clean_NSS, "degraded": degraded_NSS}, patients_N)
    values: dict[str, NDArray[np.float64]] = {}
    values["psnr"], values["ssim"] = similarities(restored_NSS, clean_NSS)
    values["psnr_degraded"], values["ssim_degraded"] = similarities(degraded_NSS, clean_NSS)
    for name in ("psnr", "ssim"):
        values[f"{name}_gain"] = values[name] - values[f"{name}_degraded"]
    means = {name: means_by_patient(values_N, patients_N) for name, values_N in values.items()}
    metrics = {
        name: mean_of_patients(by_patient, purpose=PURPOSE, seed=seed, draws=draws, absent="no test image")
        for name, by_patient in means.items()
    }
    counts = {"images": len(clean_NSS), "patients": len(np.unique(patients_N)),
              "psnr_capped": int((values["psnr"] >= CAP).sum())}  # fmt: skip
    return TaskScore(kind="enhancement", primary=PRIMARY["enhancement"], metrics=metrics,
                     by_patient=dict(means["psnr"]), counts=counts)  # fmt: skip


def similarities(images_NSS: Images, clean_NSS: Images) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """PSNR in decibels and SSIM of each image, (N,) each; both sets in [0, 1], at least 3 pixels a side."""
    # Here, so that only who compares images waits for MONAI, which takes seconds to import.
    from monai.metrics.regression import PSNRMetric, SSIMMetric

    window = min(WINDOW, min(clean_NSS.shape[1:]) - 1 | 1)
    psnr, ssim = PSNRMetric(max_val=1.0), SSIMMetric(spatial_dims=2, data_range=1.0, win_size=window)
    found_2N = np.zeros((2, len(clean_NSS)))
    for start in range(0, len(clean_NSS), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        pair_B1SS = [torch.from_numpy(np.array(of[part], np.float32))[:, None] for of in (images_NSS, clean_NSS)]
        found_2N[0, part] = torch.as_tensor(psnr(*pair_B1SS))[:, 0].double().numpy()
        found_2N[1, part] = torch.as_tensor(ssim(*pair_B1SS))[:, 0].double().numpy()
    return np.minimum(found_2N[0], CAP), found_2N[1]


def _check(images: dict[str, Images], patients_N: NDArray[np.str_]) -> None:
    shape = images["clean"].shape
    shapes = ", ".join(f"{name} {found.shape}" for name, found in images.items())
    problems = []
    if len(shape) != 3 or any(found.shape != shape for found in images.values()) or patients_N.shape != shape[:1]:
        problems.append(f"{shapes} and patients {patients_N.shape} do not belong together; give (N, S, S) and (N,)")
    elif min(shape[1:]) < 3:
        problems.append(f"images are {shape[1]} x {shape[2]} pixels; SSIM needs 3 x 3 or more")
    for name, found in images.items():
        if not ((found >= 0) & (found <= 1)).all():  # NaN is neither
            problems.append(f"{name} images hold values outside 0 to 1; clamp what a model gives")
    if problems:
        raise DataError(problems, title="enhancement score")
