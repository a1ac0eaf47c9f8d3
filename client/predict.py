"""A fine-tuned model applied to a folder of images: masks, classes or enhanced images, and a sheet to look them over.

Nothing is trained and nothing leaves the folder of the results.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from client.images import Listing, list_images, output_names, shown
from client.labels import cached_side
from client.outputs import FOLDERS, Made, class_of, enhanced_of, mask_of, pictures_of, thumbnail
from client.progress import Display
from core import __version__
from core.data.decode import Decoded, bomb_warnings_off, decode_image, read_source
from core.errors import CheckpointError, ConfigError, DataError, RunExists
from core.evaluation.downstream import finite, predict
from core.evaluation.drawing import csv_text
from core.evaluation.overlay import LEAST
from core.evaluation.sheet import Cell, sheet
from core.files import write_bytes, write_json, write_text
from core.models.checkpoint_file import sha256_of
from core.run_folder import alone_in
from core.training.fitted import Fitted, load_fitted

SCHEMA_VERSION = 1
RESULTS = ("masks", "enhanced", "classes.csv", "overlay.html", "predictions.json")
"""All that is ever written, and all that `--overwrite` removes."""
BATCH = 16
"""Images in memory at a time."""
MOST_SHOWN = 120
"""Images on the sheet; a page of more is heavy to open."""
MOST_NAMED = 20
"""Broken images that the last message lists; the document has all."""


def predict_folder(
    *, model: Path, images: Path, out: Path, threshold: float | None, overwrite: bool, console: Console
) -> Path:
    """Predict every image of a folder and of the folders inside; returns where the results are.

    Args:
        model: A file that fine-tuning wrote.
        images: The folder; files that are no images are skipped and said to be.
        out: Where results go; may lie inside `images`.
        threshold: Of the probability that a pixel is inside, in (0, 1); None takes the model's own. Segmentation.
        overwrite: Remove earlier results in `out` first.
        console: What is shown goes there.

    Raises:
        ConfigError: An argument is wrong.
        CheckpointError: The model cannot be read, or a result not be written.
        RunExists: Results are there already.
        DataError: No image was found; predictions are not finite; or, after all others were predicted, the images
            that could not be read.
    """
    fitted = _model(model)
    chosen = _threshold(fitted, threshold)
    listing = list_images(images, leave_out=[out])
    _check_out(images, out, overwrite=overwrite)
    if not listing.images:
        raise DataError(f"--images {images}: no image was found{_told(listing)}")
    display = Display(console)
    with alone_in(out, elsewhere="choose another --out FOLDER"):
        if overwrite:
            _clear(out)
        run = _Run(fitted, images, out, names=output_names(listing.images), threshold=chosen)
        with display.bar("predicting", total=len(listing.images)) as bar, bomb_warnings_off():
            for done in run.all(listing.images):
                bar.at(done, len(listing.images))
        broken = {**{path: f"folder {why}" for path, why in listing.unread.items()}, **run.broken}
        _write(run, listing, broken, model=model)
    display.say(f"{len(run.records)} of {len(listing.images)} images predicted; {out / 'overlay.html'} shows them")
    display.say(f"{len(listing.skipped)} other files skipped{_told(listing)}" if listing.skipped else "nothing skipped")
    if broken:
        raise DataError(_named(broken), title=f"--images {images}")
    return out


def _model(path: Path) -> Fitted:
    """The model; the reader's own remedy, to remove the file, is for a run that is gone on with."""
    try:
        return load_fitted(path)
    except CheckpointError as error:
        why = str(error).partition(";")[0]
        raise CheckpointError(f"{why}; give the model.safetensors that `usfm-client finetune` wrote") from error


def _threshold(fitted: Fitted, threshold: float | None) -> float:
    if threshold is None:
        return fitted.threshold
    if fitted.task.kind != "segmentation":
        raise ConfigError(f"--threshold is for masks; this model is for {fitted.task.kind}, leave it out")
    if not 0 < threshold < 1:
        raise ConfigError(f"--threshold must lie between 0 and 1, got {threshold}")
    return threshold


def _check_out(images: Path, out: Path, *, overwrite: bool) -> None:
    if images.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"--out {out} holds the images; results would lie among them, choose another folder")
    there = [name for name in RESULTS if (out / name).exists() or (out / name).is_symlink()]
    if there and not overwrite:
        raise RunExists(f"{out} holds {', '.join(there)}; choose another --out FOLDER, or --overwrite to replace them")


def _clear(out: Path) -> None:
    """Remove earlier results, and nothing else that may lie there."""
    try:
        for path in (out / name for name in RESULTS):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(f"{error.filename}: cannot be removed ({error.strerror}); fix the folder") from error


def _told(listing: Listing) -> str:
    """Why files were skipped, most frequent first."""
    reasons = Counter(listing.skipped.values()).most_common()
    return "".join(f"\n  {number} x {reason}" for reason, number in reasons)


def _named(broken: dict[Path, str]) -> list[str]:
    lines = [f"{shown(path)} {why}" for path, why in sorted(broken.items())]
    more = len(lines) - MOST_NAMED
    return lines if more <= 0 else [*lines[:MOST_NAMED], f"and {more} more; predictions.json names them all"]


@dataclass
class _Run:
    """The images of one call, batch by batch."""

    fitted: Fitted
    images: Path
    out: Path
    names: dict[Path, Path]
    threshold: float
    records: list[dict[str, Any]] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    broken: dict[Path, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Of the task."""
        return self.fitted.task.kind

    def all(self, paths: Sequence[Path]) -> Iterator[int]:
        """Predict and write; tells after each batch how many images are behind."""
        on_sheet = set(np.linspace(0, len(paths) - 1, min(MOST_SHOWN, len(paths))).round().astype(int).tolist())
        self._on_sheet = {paths[place] for place in on_sheet}
        for start in range(0, len(paths), BATCH):
            self._batch(paths[start : start + BATCH])
            yield min(start + BATCH, len(paths))

    def _batch(self, paths: Sequence[Path]) -> None:
        side = cached_side(self.fitted.model.encoder.config.side)
        read: list[tuple[Path, Decoded, Decoded | None]] = []
        for path in paths:
            try:
                content = read_source(self.images / path).content
                small = decode_image(content, side=LEAST) if path in self._on_sheet else None
                read.append((path, decode_image(content, side=side), small))
            except DataError as error:
                self.broken[path] = str(error)
        if not read:
            return
        pixels_BSS = np.stack([decoded.pixels for _, decoded, _ in read])
        task = self.fitted.task
        predictions = finite(predict(self.fitted.model, pixels_BSS, task=task), task)
        for (path, decoded, small), prediction in zip(read, predictions, strict=True):
            self._keep(path, decoded, small, prediction)

    def _keep(self, path: Path, decoded: Decoded, small: Decoded | None, prediction: np.ndarray) -> None:
        made = self._made(decoded, prediction)
        record: dict[str, Any] = {"file": path.as_posix(), "width": decoded.width, "height": decoded.height}
        if made.picture:
            output = Path(FOLDERS[self.kind]) / self.names[path]
            write_bytes(self.out / output, made.picture)
            record["output"] = output.as_posix()
        self.records.append({**record, **made.record})
        if small is not None:
            pictures = pictures_of(self.kind, thumbnail(small), prediction, threshold=self.threshold)
            self.cells += [Cell(_caption(path, made, words), address) for words, address in pictures]

    def _made(self, decoded: Decoded, prediction: np.ndarray) -> Made:
        size = {"width": decoded.width, "height": decoded.height}
        if self.kind == "segmentation":
            return mask_of(prediction, **size, threshold=self.threshold)
        if self.kind == "classification":
            return class_of(prediction, self.fitted.task.classes)
        return enhanced_of(prediction, **size)


def _caption(path: Path, made: Made, words: str) -> str:
    if "class" in made.record:
        words = f"{made.record['class']} {max(made.record['probabilities'].values()):.2f}"
    if made.record.get("empty"):
        words = "nothing found"
    return f"{shown(path)}{f': {words}' if words else ''}"


def _write(run: _Run, listing: Listing, broken: dict[Path, str], *, model: Path) -> None:
    """The documents, `predictions.json` last: where it is, everything is."""
    task = run.fitted.task
    if run.kind == "classification":
        rows = [(shown(record["file"]), record["class"], *record["probabilities"].values()) for record in run.records]
        write_text(run.out / "classes.csv", csv_text(["file", "class", *task.classes], rows))
    write_text(run.out / "overlay.html", _sheet(run, broken))
    document = {
        "schema_version": SCHEMA_VERSION,
        "code_version": __version__,
        "task": task.name,
        "kind": task.kind,
        "model": {"file": model.name, "sha256": sha256_of(model), "side": run.fitted.model.encoder.config.side},
        "threshold": run.threshold if run.kind == "segmentation" else None,
        "counts": {"images": len(listing.images), "predicted": len(run.records), "broken": len(broken),
                   "skipped": len(listing.skipped)},
        "images": run.records,
        "broken": {path.as_posix(): why for path, why in sorted(broken.items())},
        "skipped": {path.as_posix(): why for path, why in sorted(listing.skipped.items())},
    }  # fmt: skip
    write_json(run.out / "predictions.json", document)


def _sheet(run: _Run, broken: dict[Path, str]) -> str:
    task, side = run.fitted.task, run.fitted.model.encoder.config.side
    what = {
        "segmentation": f"Orange outlines what the model takes for inside (probability above {run.threshold:g}).",
        "classification": "Below each image stands the most probable class with its probability.",
        "enhancement": f"Before and after. The model works at {side} x {side} pixels, so finer detail is not there.",
    }[run.kind]
    many = len(run.records) > MOST_SHOWN
    lead = [f"{len(run.records)} images predicted by the model of task {task.name}.", what]
    notes = [
        "This is research software and no medical device.",
        "The pictures are images of your patients, with the names of their files: treat this page as you treat those.",
    ]
    notes += [f"At most {MOST_SHOWN} images are shown, evenly spread over the sorted names."] if many else []
    notes += [f"{len(broken)} could not be read; predictions.json names them."] if broken else []
    return sheet(title=f"{task.name}: predictions", lead=lead, cells=run.cells, notes=notes)
