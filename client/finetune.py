"""A hospital fine-tunes alone: from a task, weights and a manifest to a model, its result and a page about it.

Nothing leaves the folder of the results. The same arguments give the same weights on one machine, also where a kill
came between and `--resume` went on.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
import yaml
from rich.console import Console

from client.labels import Prepared, prepare_labels
from client.progress import Display
from client.result import result_of
from client.shown import examples
from core import __version__
from core import config as configuration
from core.data.manifest import Manifest, load_manifest
from core.errors import ConfigError, RunExists, UsfmError
from core.evaluation.downstream import evaluate
from core.evaluation.task_examples import LEGENDS
from core.evaluation.task_page import TaskReport, write_task_page
from core.evaluation.task_words import claim
from core.files import write_json, write_text
from core.models.weights import Loaded, load_encoder
from core.run_folder import CONFIG, alone_in, check_folder, check_inputs, clear
from core.training.fit import fit
from core.training.fitted import Fitted, save_fitted
from core.training.task import Task

ELSEWHERE = "choose another --out FOLDER"
MODEL, RESULT, PAGE = "model.safetensors", "result.json", "result.html"
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the command line asks for."""

    task: Path
    """A YAML file of `core.training.task.Task`."""
    weights: Path
    """A file that `core.models.weights.load_encoder` reads."""
    manifest: Path
    """CSV or Parquet."""
    out: Path | None = None
    """Where results go; None takes `finetuned/<name of the task>`."""
    cache: Path | None = None
    """Where decoded images are kept; None takes `cache` beside the results."""
    overrides: tuple[str, ...] = ()
    """`key=value` of the task."""
    seed: int = 0
    threads: int = 0
    """CPU threads of torch; 0 takes torch's own number."""
    side: int = 0
    """Pixels on a side of the model's input; 0 takes that of the weights."""
    test: float = 0.25
    """Share of the patients for the result."""
    validation: float = 0.1
    """Share of the patients that choose which state is kept."""
    names: bool = False
    """Whether patients keep their names in the results."""


def finetune(request: Request, *, resume: bool, overwrite: bool, console: Console) -> Path:
    """Fine-tune, measure, and write everything; returns the folder of the results.

    Raises:
        UsfmError: Whatever is wrong with arguments, files, images or disk; several wrong files are told together. The
            folder is made only after all were found good.
    """
    if request.threads:
        torch.set_num_threads(request.threads)
    task, loaded, manifest = _read(request)
    folder = request.out or Path("finetuned") / task.name
    text = _settings(request, task, loaded)
    check_folder(folder, text, resume=resume, overwrite=overwrite, elsewhere=ELSEWHERE)
    if overwrite:
        _check_removed(folder, request, manifest)
    display = Display(console)
    display.say(f"weights {request.weights}: {loaded.layout}, SHA-256 {loaded.sha256}")
    prepared = _prepare(request, task, loaded, manifest, cache=request.cache or folder.parent / "cache", show=display)
    with alone_in(folder, elsewhere=ELSEWHERE):
        if overwrite:
            clear(folder)
        write_text(folder / CONFIG, text)
        digests = {"data": prepared.digest(), "splits": prepared.splits_digest, "weights": loaded.sha256}
        check_inputs(folder / "inputs.json", {**digests, "code": __version__, "torch": torch.__version__})
        fitted = _fit(request, loaded, prepared, task, folder=folder, display=display)
        save_fitted(folder / MODEL, fitted)
        display.say("measuring on the test patients")
        report = _report(request, fitted, prepared, loaded)
        write_json(folder / RESULT, report.result)
        write_task_page(folder / PAGE, report)
    _tell(display, report, folder=folder)
    return folder


def _read(request: Request) -> tuple[Task, Loaded, Manifest]:
    """All three inputs; what is wrong with any of them is told at once."""
    errors: list[UsfmError] = []

    def attempt(make: Callable[[], _T]) -> _T | None:
        try:
            return make()
        except UsfmError as error:
            errors.append(error)
            return None

    task = attempt(lambda: configuration.load(Task, path=request.task, overrides=request.overrides)[0])
    loaded = attempt(lambda: load_encoder(request.weights, side=request.side or None))
    manifest = attempt(lambda: load_manifest(request.manifest))
    attempt(lambda: _check_shares(request))
    if len(errors) == 1:
        raise errors[0]
    if task is None or loaded is None or manifest is None:
        raise ConfigError([str(error) for error in errors], title="finetune")
    return task, loaded, manifest


def _check_shares(request: Request) -> None:
    if not (0 < request.test < 1 and request.validation >= 0 and request.test + request.validation < 1):
        raise ConfigError(
            f"--test {request.test} must lie between 0 and 1, --validation {request.validation} be at least 0, "
            "and both together stay below 1"
        )


def _check_removed(folder: Path, request: Request, manifest: Manifest) -> None:
    """`--overwrite` empties the folder; what the run starts from must not lie there."""
    needed = [request.task, request.weights, request.manifest]
    needed += [path for record in manifest.records for path in (record.image, record.mask) if path]
    for path in needed:
        if path.resolve().is_relative_to(folder.resolve()):
            raise RunExists(f"--overwrite would remove {path}, which lies in {folder}; move it, or {ELSEWHERE}")


def _settings(request: Request, task: Task, loaded: Loaded) -> str:
    """What a resumed run must find again, as YAML."""
    values = {
        "seed": request.seed,
        "threads": torch.get_num_threads(),
        "side": loaded.encoder.config.side,
        "test": request.test,
        "validation": request.validation,
        "weights": loaded.sha256,
        "task": asdict(task),
    }
    return yaml.safe_dump(values, sort_keys=False)


def _prepare(
    request: Request, task: Task, loaded: Loaded, manifest: Manifest, *, cache: Path, show: Display
) -> Prepared:
    with show.bar("decoding images", total=len(manifest.records)) as bar:
        return prepare_labels(
            task,
            manifest,
            cache=cache,
            side=loaded.encoder.config.side,
            seed=request.seed,
            test=request.test,
            validation=request.validation,
            progress=bar.at,
        )


def _fit(request: Request, loaded: Loaded, prepared: Prepared, task: Task, *, folder: Path, display: Display) -> Fitted:
    total = task.tuning.steps
    people = {name: len(set(part.patients_N.tolist())) for name, part in prepared.parts.items()}
    display.say(
        f"{task.name}: {people['train']} patients teach, {people['validation']} choose, {people['test']} are for the "
        f"result; {total} steps of {task.tuning.batch} images"
    )
    with display.bar("fine-tuning", total=total) as bar:
        fitted = fit(
            loaded.encoder,
            prepared.train,
            prepared.validation,
            task=task,
            seed=request.seed,
            folder=folder,
            on_step=lambda step, loss, _: bar.step(step, loss, total),
            on_point=lambda point: bar.score(point.validation),
        )
    for point in fitted.curve:
        score = "" if point.validation is None else f", validation {point.validation:.3f}"
        display.say(f"step {point.step}: loss {point.loss:.4f}{score}")
    return fitted


def _report(request: Request, fitted: Fitted, prepared: Prepared, loaded: Loaded) -> TaskReport:
    score = evaluate(fitted, prepared.test, seed=request.seed, spacing_N2=prepared.spacing_N2)
    result = result_of(
        fitted, score, prepared, loaded, manifest=request.manifest, seed=request.seed, names=request.names
    )
    shown = examples(fitted, prepared.test, seed=request.seed, names=request.names)
    return TaskReport(result=result, examples=shown, legend=LEGENDS[fitted.task.kind])


def _tell(display: Display, report: TaskReport, *, folder: Path) -> None:
    """What a person reads last."""
    result = report.result
    for sentence in claim(result["score"], classes=len(result["task"]["classes"])):
        display.say(sentence)
    for warning in result["warnings"]:
        display.say(f"note: {warning}")
    display.say(f"{folder / PAGE} has everything; {folder / MODEL} is the model for usfm-client predict")
