"""What a fine-tuning leaves to be read: `result.json`, and what a reader must be warned of."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from client.labels import Prepared, counts
from core import __version__
from core.evaluation.metrics.score import TaskScore, score_document
from core.evaluation.task_examples import numbered
from core.evaluation.task_words import FEW
from core.federation.tensors import digest_of, state_of
from core.models.normalization import PER_IMAGE
from core.models.weights import Loaded
from core.training.fitted import Fitted

SCHEMA_VERSION = 1


def result_of(
    fitted: Fitted, score: TaskScore, prepared: Prepared, loaded: Loaded, *, manifest: Path, seed: int, names: bool
) -> dict[str, Any]:
    """The content of `result.json`; `docs/finetune.md` says what each field means.

    Args:
        fitted: The model.
        score: Of the test patients.
        prepared: The images.
        loaded: Where training started.
        manifest: Named, without its folder.
        seed: Of the run.
        names: Whether patients keep their names; otherwise they are numbers.
    """
    document = score_document(score)
    if not names:
        called = numbered(prepared.test.patients_N.tolist())
        document["by_patient"] = {called[name]: value for name, value in document["by_patient"].items()}
    weights = loaded.provenance()
    return {
        "schema_version": SCHEMA_VERSION,
        "code_version": __version__,
        "torch_version": torch.__version__,
        "task": asdict(fitted.task),
        "seed": seed,
        "threads": torch.get_num_threads(),
        "score": document,
        "warnings": list(warnings_of(fitted, score, prepared, loaded)),
        "curve": [asdict(point) for point in fitted.curve],
        "model": {
            "weights_sha256": digest_of(state_of(fitted.model)),
            **{name: getattr(fitted, name) for name in ("threshold", "best_step", "validation", "steps", "images")},
        },
        "weights": {**weights, "path": Path(weights["path"]).name},
        "data": _data(prepared, manifest=manifest, classes=list(fitted.task.classes)),
        "timing": {"seconds": fitted.seconds, "evaluation_seconds": fitted.evaluation_seconds},
    }


def _data(prepared: Prepared, *, manifest: Path, classes: list[str]) -> dict[str, Any]:
    return {
        "manifest": manifest.name,
        "rows": prepared.rows,
        "unused": dict(prepared.unused),
        "digest": prepared.digest(),
        "splits_digest": prepared.splits_digest,
        "splits": {name: counts(part, classes) for name, part in prepared.parts.items()},
    }


def warnings_of(fitted: Fitted, score: TaskScore, prepared: Prepared, loaded: Loaded) -> Iterator[str]:
    """What weakens the result, a sentence each, the gravest first."""
    if seen := _seen(prepared):
        yield (
            f"{seen} test images are, pixel for pixel, also images of training or validation patients: the model has "
            "seen them, and the result is too good. Perhaps a patient has two codes in the manifest."
        )
    yield from _few(fitted, prepared)
    if fitted.note:
        yield fitted.note
    yield from _counted(score.counts)
    if fitted.best_step == fitted.steps == fitted.task.tuning.steps and len(fitted.curve) > 1 and fitted.validation:
        yield "The last state was the best: more steps (tuning.steps) may give a better model."
    if fitted.task.kind == "classification" and fitted.task.tuning.balance:
        yield (
            "Classes were drawn alike in training (tuning.balance), so the model's probabilities are those of patients "
            "among whom every class is as frequent as the others."
        )
    if prepared.unused:
        told = "; ".join(f"{number} {reason}" for reason, number in sorted(prepared.unused.items()))
        yield f"{sum(prepared.unused.values())} of {prepared.rows} rows of the manifest are not used: {told}."
    if loaded.normalization != PER_IMAGE:
        yield (
            f"The weights were trained on images normalized in another way ({loaded.normalization}) than fine-tuning "
            "does (image by image); they must adapt to that too."
        )
    yield from (f"Weights: {note}." for note in loaded.notes)


def _seen(prepared: Prepared) -> int:
    """Test images that are in another part as well, under another patient."""
    earlier, test = (
        [hashlib.sha256(image_SS.tobytes()).digest() for part in parts for image_SS in part.images_NSS]
        for parts in ((prepared.train, prepared.validation), (prepared.test,))
    )
    known = set(earlier)
    return sum(digest in known for digest in test)


def _few(fitted: Fitted, prepared: Prepared) -> Iterator[str]:
    patients = {name: len(set(part.patients_N.tolist())) for name, part in prepared.parts.items()}
    if patients["test"] < FEW:
        people = "1 test patient" if patients["test"] == 1 else f"{patients['test']} test patients"
        yield f"{people}: the result is uncertain, more than its interval says, and other patients would give another."
    if patients["train"] < FEW:
        people = "1 training patient" if patients["train"] == 1 else f"{patients['train']} training patients"
        yield f"{people}: the model may have learnt them by heart."
    if fitted.validation is not None and patients["validation"] < FEW:
        held = patients["validation"]
        people = "1 validation patient" if held == 1 else f"{held} validation patients"
        yield f"{people}: the state that was kept was chosen on few."
    for name, part in prepared.parts.items():
        found: Mapping[str, Any] = counts(part, list(fitted.task.classes)).get("classes", {})
        absent = [word for word, held in found.items() if not held["images"]]
        if absent and name == "test":
            yield f"No test image of {', '.join(absent)}: what is counted by class has no value."


def _counted(found: Mapping[str, int]) -> Iterator[str]:
    """What the metrics' rules set apart."""
    if empty := found.get("empty_images", 0):
        yield (
            f"The mask of {empty} test images is empty at the model's size: they are in no mean. Of these, "
            f"{found.get('empty_right', 0)} were rightly predicted empty."
        )
    if penalised := found.get("hd95_penalised", 0):
        yield f"In {penalised} test images nothing was found; their HD95 is set to the image's diagonal."
