"""A task's metrics as a clinician reads them: their names, units and meanings, and the headline as a sentence."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from core.evaluation.formats import NONE, share, words
from core.evaluation.marks import finite

FEW = 10
"""Patients below which a number says little, and an interval from drawing them again says too much."""


class Told(NamedTuple):
    """How a metric is shown."""

    name: str
    meaning: str
    unit: str = ""
    """Behind the number; where there is one, a single decimal is shown, else two."""


METRICS = {
    "dice": Told("Dice", "overlap of the predicted and the drawn area; 0 is none, 1 is perfect"),
    "iou": Told("IoU", "shared area divided by the area of both together; 0 to 1, always below Dice"),
    "hd95": Told("HD95", "how far the outlines lie apart at their worst 5%, at the model's image size; less is better",
                 "pixels"),
    "hd95_mm": Told("HD95", "the same distance where the manifest gives the pixels' spacing; less is better", "mm"),
    "sensitivity": Told("sensitivity", "share of what is there that was found; 0 to 1"),
    "specificity": Told("specificity", "share of what is not there that was left alone; 0 to 1"),
    "balanced_accuracy": Told("balanced accuracy", "share of images in the right class, every class counting alike"),
    "accuracy": Told("accuracy", "share of images in the right class; a common class counts more"),
    "macro_f1": Told("macro-F1", "of precision and sensitivity, mean over the classes; 0 to 1"),
    "auroc": Told("AUROC", "chance that an image of a class is rated above one of another; 0.5 is guessing"),
    "calibration_error": Told("calibration error", "how far stated probabilities lie from what came true; 0 is best"),
    "brier": Told("Brier score", "squared distance of the probabilities from the truth; 0 is best"),
    "psnr": Told("PSNR", "likeness of the restored to the clean image; more is better", "dB"),
    "psnr_degraded": Told("PSNR before", "the same for the image before it was restored", "dB"),
    "psnr_gain": Told("PSNR gain", "what restoring added; 0 is nothing", "dB"),
    "ssim": Told("SSIM", "likeness of structure to the clean image; 1 is the same"),
    "ssim_degraded": Told("SSIM before", "the same for the image before it was restored"),
    "ssim_gain": Told("SSIM gain", "what restoring added; 0 is nothing"),
}  # fmt: skip
"""Every metric of `core.evaluation.metrics`."""

VALIDATION = {
    "segmentation": "mean Dice of the validation patients",
    "classification": "balanced accuracy of the validation patients",
    "enhancement": "gain of PSNR of the validation patients, dB",
}
"""Kind of task to what its validation score is."""


def told(metric: str) -> Told:
    """A metric's words; one that is not known keeps its own name."""
    return METRICS.get(metric, Told(words(metric), ""))


def number(metric: str, value: Any) -> str:
    """A value with its unit, or a dash."""
    known, unit = finite(value), told(metric).unit
    if known is None:
        return NONE
    return f"{known:.1f} {unit}" if unit else share(known)


def interval(metric: str, found: Mapping[str, Any]) -> str:
    """`0.79 to 0.87`, or nothing."""
    low, high = finite(found.get("low")), finite(found.get("high"))
    return "" if low is None or high is None else f"{number(metric, low).split(' ')[0]} to {number(metric, high)}"


def claim(score: Mapping[str, Any], *, classes: int = 0) -> list[str]:
    """The headline and what it means, a sentence each.

    Args:
        score: What `core.evaluation.metrics.score.score_document` gives. From fewer patients than `FEW` nothing is
            concluded about others, whatever the interval.
        classes: Of the task; says what guessing would give.
    """
    metric = str(score.get("primary", ""))
    found = score.get("metrics", {}).get(metric) or {}
    if finite(found.get("value")) is None:
        return [f"There is no result: {found.get('reason') or 'nothing could be measured'}."]
    people = "one patient" if found.get("patients") == 1 else f"{found.get('patients')} patients"
    name = told(metric).name[:1].upper() + told(metric).name[1:]
    text = f"{name} {number(metric, found['value'])} on {people} that the model has not seen"
    bounds = interval(metric, found)
    first = f"{text} (95% interval {bounds})." if bounds else f"{text}; there is no interval: {found.get('reason')}."
    further = [f"{name} is the {told(metric).meaning}."] if told(metric).meaning else []
    enough = bool(bounds) and int(found.get("patients") or 0) >= FEW
    if enough:
        further.append(f"The mean of all patients like these plausibly lies between {bounds.replace(' to ', ' and ')}.")
    if metric == "balanced_accuracy" and classes:
        better = enough and found["low"] > 1 / classes
        verdict = "" if better else "; that the model is better is not shown"
        further.append(f"Guessing would give {share(1 / classes)}{verdict}.")
    gain = score.get("metrics", {}).get("psnr_gain") or {}
    if finite(gain.get("value")) is not None:
        bounds = interval("psnr_gain", gain)
        further.append(f"Restoring added {number('psnr_gain', gain['value'])}{f' ({bounds})' if bounds else ''}.")
    return [first, *further]
