"""One page about a fine-tuned model: how good it is, on whom that was measured, how it came about, what it looks like.

It is read by people who did not make the model, so it says in words what a number means and what weakens it. It runs
nothing and fetches nothing; patients are numbers unless names are asked for, but the example pictures are images of
patients, and the page says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import yaml
from matplotlib.ticker import MaxNLocator

from core.evaluation.drawing import STYLE, Drawing, new_figure, to_svg
from core.evaluation.formats import NONE, count, loss, seconds, words
from core.evaluation.marks import finite
from core.evaluation.report_page import bullets, facts, figure, folded, page, section, table, text
from core.evaluation.task_words import VALIDATION, claim, interval, number, told
from core.files import write_text

SPLITS = {"train": "training", "validation": "validation", "test": "test"}
RULE = (
    "Three test patients, chosen by rule and not by hand: the best, the one in the middle, the worst. Of each, the "
    "image whose score is nearest to the patient's mean. Pictures are squeezed to a square, as the model sees them."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskExample:
    """One test image as a row of pictures."""

    title: str
    """`Best: patient 3 of 41`."""
    note: str
    """What the model made of it, a sentence."""
    pictures: Sequence[tuple[str, str]]
    """Label and `data:` address of each picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskReport:
    """All that the page shows."""

    result: Mapping[str, Any]
    """The content of `result.json`; see `docs/finetune.md`."""
    examples: Sequence[TaskExample]
    legend: str = ""
    """What the colours in the examples mean."""


def write_task_page(path: Path, report: TaskReport) -> None:
    """Write the page, whole or not at all; raises CheckpointError."""
    write_text(path, render(report))


def render(report: TaskReport) -> str:
    """The page as text; every name is escaped."""
    result = report.result
    task = result.get("task", {})
    title = f"{words(str(task.get('name', 'task')))}: result of fine-tuning"
    first, *further = claim(result.get("score", {}), classes=len(task.get("classes") or []))
    parts = [
        f"<h1>{text(title)}</h1>",
        f'<p class="claim">{text(first)}</p>',
        *(f"<p>{text(sentence)}</p>" for sentence in further),
        section("Read this first", bullets(result.get("warnings", []))),
        _metrics(result),
        _examples(report),
        _course(result),
        _counts(result),
        _origin(result),
        section("Limits", bullets(LIMITS)),
    ]
    return page(title=title, body="\n".join(part for part in parts if part))


LIMITS = (
    "This is research software and no medical device; nothing on this page approves the model for use on patients.",
    "The example pictures are images of your patients: treat this page as you treat those.",
    "The test patients come from the same hospital and manifest as the training patients. How the model does elsewhere "
    "was not measured.",
    "Test patients took no part in fine-tuning. If the starting weights were pretrained on images of these very "
    "patients, those were seen, though without labels.",
)


def _metrics(result: Mapping[str, Any]) -> str:
    score = result.get("score", {})
    rows, missing = [], []
    for name, found in (score.get("metrics") or {}).items():
        known = told(name)
        if finite(found.get("value")) is None:
            reason = str(found.get("reason", "")).replace("`", "")
            missing.append(f"{known.name}{f' in {known.unit}' if known.unit else ''}: {reason}.")
            continue
        bounds = interval(name, found) or NONE
        cells = [known.name, number(name, found["value"]), bounds, count(found.get("patients")), known.meaning]
        rows.append(("ours" if name == score.get("primary") else "", [text(cell) for cell in cells]))
    head = ["metric", "value", "95% interval", "test patients", "what it is"]
    note = (
        "Each value is a mean over test patients (for classes: over their images); the interval is a bootstrap over "
        "patients, all images of one together."
    )
    return section(
        "Every metric",
        table(head, rows, words=(4,)) if rows else "",
        f'<p class="soft">{note}</p>' if rows else "",
        bullets(missing),
    )


def _examples(report: TaskReport) -> str:
    if not report.examples:
        return ""
    rows = "\n".join(_example(example) for example in report.examples)
    return section("Examples", f"<p>{text(RULE)}</p>", rows, f'<p class="soft">{text(report.legend)}</p>')


def _example(example: TaskExample) -> str:
    cells = "".join(
        f'<div><img src="{text(address)}" alt="{text(f"{example.title}, {label}")}">{text(label)}</div>'
        for label, address in example.pictures
    )
    columns = f"--n: {max(4, len(example.pictures))}; --m: {max(2, (len(example.pictures) + 1) // 2)}"
    return (
        f'<h3>{text(example.title)}</h3>\n<p class="soft">{text(example.note)}</p>\n'
        f'<div class="row" style="{columns}">{cells}</div>'
    )


def _course(result: Mapping[str, Any]) -> str:
    model = result.get("model", {})
    caption = (
        "Training loss: mean since the point before, lower is better. Validation: patients who teach nothing and "
        "choose which state is kept; the ring marks that state. A validation score that falls while the loss falls on "
        "means that the model learns its training images by heart."
    )
    timing = result.get("timing", {})
    numbers = facts(
        [
            ("steps taken", count(model.get("steps"))),
            ("kept after step", count(model.get("best_step"))),
            ("training images drawn", count(model.get("images"))),
            ("time", seconds(timing.get("seconds"))),
        ]
    )
    return section("How training went", numbers, figure(_curves(result), caption=caption))


@mpl.rc_context(STYLE)
def _curves(result: Mapping[str, Any]) -> Drawing | None:
    """Training loss and validation score against steps; nothing where no point was told."""
    points = [(p["step"], finite(p.get("loss")), finite(p.get("validation"))) for p in result.get("curve", [])]
    if not points:
        return None
    scored = [(step, score) for step, _, score in points if score is not None]
    drawn, axes = new_figure(2.9 if not scored else 4.9, rows=2 if scored else 1, sharex=True)
    steps, losses = zip(*[(step, value) for step, value, _ in points if value is not None] or [(0, 0)], strict=True)
    axes[0, 0].plot(steps, losses, "-o", color="#0072b2", markersize=4)
    axes[0, 0].set_title("training loss")
    if scored:
        axes[1, 0].plot(*zip(*scored, strict=True), "-s", color="#d55e00", markersize=4)
        best = [point for point in scored if point[0] == result.get("model", {}).get("best_step")]
        if best:
            axes[1, 0].plot(*best[0], "o", markersize=12, fillstyle="none", color="#d55e00")
        axes[1, 0].set_title(VALIDATION.get(str(result.get("task", {}).get("kind")), "validation score"))
    axes[-1, 0].set_xlabel("optimizer steps")
    axes[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    alt = f"Training loss from {loss(losses[0])} to {loss(losses[-1])} over {points[-1][0]} steps"
    alt += f", validation score from {loss(scored[0][1])} to {loss(scored[-1][1])}." if scored else "."
    return Drawing(name="curves", markup=to_svg(drawn, alt=alt), columns=("step", "loss", "validation"), rows=points)


def _counts(result: Mapping[str, Any]) -> str:
    splits = result.get("data", {}).get("splits", {})
    classes = result.get("task", {}).get("classes") or []
    rows = []
    for name, label in SPLITS.items():
        found = splits.get(name, {})
        own = found.get("classes", {})
        numbers = [count(found.get("patients")), count(found.get("images"))]
        rows.append(("", [text(label), *numbers, *(count(own.get(word, {}).get("patients")) for word in classes)]))
    head = ["part", "patients", "images", *(text(f"patients with {word}") for word in classes)]
    note = "Patients are divided, never a patient's images. A patient may have images of several classes."
    return section("Who took part", table(head, rows), f'<p class="soft">{note}</p>')


def _origin(result: Mapping[str, Any]) -> str:
    weights, model, data = (result.get(name, {}) for name in ("weights", "model", "data"))
    pairs = [
        ("weights file", weights.get("path", NONE)),
        ("SHA-256 of the weights file", weights.get("sha256", NONE)),
        ("layout", weights.get("layout", NONE)),
        ("licence of the weights", weights.get("licence", NONE)),
        ("SHA-256 of the fine-tuned weights", model.get("weights_sha256", NONE)),
        ("digest of the data", data.get("digest", NONE)),
        ("digest of the division into splits", data.get("splits_digest", NONE)),
        ("code, torch", f"{result.get('code_version', NONE)}, {result.get('torch_version', NONE)}"),
        ("seed, threads", f"{result.get('seed', NONE)}, {result.get('threads', NONE)}"),
    ]
    rows = [("", [text(name), f"<code>{text(value)}</code>"]) for name, value in pairs]
    task = yaml.safe_dump(dict(result.get("task", {})), sort_keys=False)
    return section(
        "What it was made from",
        table(["", ""], rows, words=(1,)),
        folded("The task, every value resolved", f"<pre>{text(task)}</pre>"),
    )
