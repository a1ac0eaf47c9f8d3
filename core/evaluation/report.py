"""The report of a run: one HTML file that can be mailed, opened anywhere, and read on a phone or on paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.evaluation import figures, pictures, score_figures
from core.evaluation.arms import arm_label
from core.evaluation.claim import sentences
from core.evaluation.drawing import Drawing
from core.evaluation.formats import count, seconds, size, words
from core.evaluation.pictures import Example
from core.evaluation.report_page import bullets, facts, figure, folded, page, section, table, text
from core.evaluation.report_scores import gap_section, organs_section, scores_section, segmentation_section
from core.evaluation.report_tables import arms_section, rounds_section
from core.files import write_text

FIGURES = "figures"
"""Folder beside the page with the data of every figure as CSV."""
Drawings = Mapping[str, Drawing | None]
"""The figures by what they show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportData:
    """All that the page shows."""

    metrics: Mapping[str, Any]
    """The content of `metrics.json`."""
    case_mix: Mapping[str, Mapping[str, int]]
    """Hospital -> organ -> training patients."""
    curves: Mapping[str, Sequence[tuple[float, float]]]
    """Arm -> (images seen, training loss), in order."""
    held_out_curve: Mapping[str, Sequence[tuple[float, float]]]
    """Arm -> (images seen, held-out loss), in order; where it is empty, the curves in `metrics` are shown."""
    examples: Sequence[Example]
    """Held-out images, one an organ."""
    receipts: Sequence[Mapping[str, Any]]
    """One record a round: round, contributors, refused, absent, effective_mix, model_hash."""
    config_text: str
    """The resolved configuration."""


def write_report(path: Path, report: ReportData) -> None:
    """Write the page and, in `figures/` beside it, every figure's data, each whole or not at all; older ones go."""
    drawings = draw(report)
    content = _page(report, drawings)
    for drawing in filter(None, drawings.values()):
        write_text(path.parent / FIGURES / f"{drawing.name}.csv", drawing.csv())
    write_text(path, content)


def render(report: ReportData) -> str:
    """The page as text. Names that come from hospitals are escaped everywhere."""
    return _page(report, draw(report))


def draw(report: ReportData) -> Drawings:
    """Every figure; None where the run has nothing to show in it."""
    metrics = report.metrics
    return {
        "losses": score_figures.organ_losses(metrics),
        "gap": score_figures.closed_gap(metrics),
        "differences": score_figures.differences(metrics),
        "segmentation": score_figures.segmentation_scores(metrics),
        "probes": score_figures.probe_scores(metrics),
        "case_mix": figures.case_mix(report.case_mix),
        "curves": figures.loss_curves(report.curves, _held_out_curves(report)),
        "examples": pictures.pixels(report.examples, _example_rows(report.examples)),
        "spectra": pictures.spectra(report.examples),
        "cost": figures.cost(metrics.get("arms", {})),
    }


def _held_out_curves(report: ReportData) -> Mapping[str, Sequence[tuple[float, float]]]:
    if report.held_out_curve:
        return report.held_out_curve
    curves = {
        name: arm.get("held_out_curve") or []
        for name, arm in report.metrics.get("arms", {}).items()
        if not arm.get("role")  # a derived arm would repeat another's curve
    }
    return {name: curve for name, curve in curves.items() if curve}


def _page(report: ReportData, drawings: Drawings) -> str:
    metrics = report.metrics
    title = f"{metrics.get('name', 'run')}: one ultrasound encoder, {len(report.case_mix)} hospitals"
    claim, *further = sentences(metrics)
    parts = [
        f"<h1>{text(title)}</h1>",
        f'<p class="claim">{text(claim)}</p>',
        *(f"<p>{text(sentence)}</p>" for sentence in further),
        gap_section(metrics, drawings),
        organs_section(metrics, drawings),
        segmentation_section(metrics, drawings),
        scores_section(drawings),
        arms_section(metrics),
        _case_mix(drawings),
        _curves(report, drawings),
        _examples(drawings),
        _spectra(drawings),
        _cost(report, drawings),
        rounds_section(report.receipts, metrics.get("mix", {})),
        section("Limits", bullets(metrics.get("limits", []))),
        _sources(report),
    ]
    return page(title=title, body="\n".join(part for part in parts if part))


def _case_mix(drawings: Drawings) -> str:
    caption = (
        "Training patients by hospital (total in brackets) and organ; darker is more, on a logarithmic scale; a dash "
        "is none. Rows that look unlike are hospitals that see unlike patients: what federation has to bridge."
    )
    return section("Who holds what", figure(drawings["case_mix"], caption=caption))


def _curves(report: ReportData, drawings: Drawings) -> str:
    caption = (
        "Lower is better. The loss has no unit: images are standardised one by one. Each arm is "
        "measured on the images it draws itself, so compare shapes, not heights. "
    )
    if any(_held_out_curves(report).values()):
        caption += "In the second panel all arms meet the same held-out patients. "
    caption += "Long curves are means over stretches of steps."
    return section("How the loss fell", figure(drawings["curves"], caption=caption))


def _example_rows(examples: Sequence[Example]) -> str:
    """The pictures of every example, and what the colours of the last one mean."""
    key = (
        f'<p class="soft">Difference: too dark<span class="scale" role="img" aria-label="violet to orange"></span>'
        f"too bright; full colour at {pictures.DIFFERENCE_RANGE:g} of the brightness range.</p>"
    )
    return "\n".join(_example_row(example) for example in examples) + key


def _examples(drawings: Drawings) -> str:
    caption = (
        "Held-out images. The encoder saw only the corrupted picture. Look whether the filled blocks come back as "
        "anatomy or as a smooth guess: speckle is random and cannot be foretold, so blur inside a block is expected, "
        "and the difference there is fine-grained. A difference with the shape of an organ is a failure. Blocks that "
        "the encoder saw are not scored by the spatial loss (unless the objective asks for all pixels), so they may "
        "look like noise."
    )
    return section("What the model restores", figure(drawings["examples"], caption=caption))


def _example_row(example: Example) -> str:
    steps = [("original", pictures.grey_png(example.original))]
    if example.filtered is not None:
        steps.append(("rings stopped", pictures.grey_png(example.filtered)))
    steps += [
        ("corrupted", pictures.grey_png(example.corrupted)),
        ("reconstructed", pictures.grey_png(example.reconstructed)),
        ("difference", pictures.difference_png(example)),
    ]
    organ = words(example.organ)
    cells = "".join(
        f'<div><img src="{source}" alt="{text(f"{organ}, {name}")}">{text(name)}</div>' for name, source in steps
    )
    heading = text(f"{organ}, by {arm_label(example.arm)}")
    columns = f"--n: {len(steps)}; --m: {(len(steps) + 1) // 2}"  # on a screen; on a phone
    return f'<h3>{heading}</h3>\n<div class="row" style="{columns}">{cells}</div>'


def _spectra(drawings: Drawings) -> str:
    caption = (
        "Magnitude of the two-dimensional spectrum on a logarithmic scale (brighter is stronger), frequency zero in "
        "the middle. Orange: the rings that were stopped in this image (without orange, none); the row 'rings "
        "stopped', before blocks are filled, is dark there. Brightness inside the rings of the last row was restored "
        "from the rest of the image; outside them, darker edges than in the first row are fine detail that the model "
        "does not give back."
    )
    return section("Spectra and stopped rings", figure(drawings["spectra"], caption=caption))


def _cost(report: ReportData, drawings: Drawings) -> str:
    metrics = report.metrics
    rounds, timing, volume = metrics.get("rounds", 0), metrics.get("timing", {}), metrics.get("bytes", {})
    each = [(f"{way} a round", size(volume.get(key, 0) / rounds) if rounds else "–")
            for way, key in (("to the server", "up"), ("to the hospitals", "down"))]  # fmt: skip
    numbers = facts(
        [
            ("training, all arms", seconds(timing.get("seconds"))),
            ("federated rounds", count(rounds)),
            *each,
            ("images a second", count(timing.get("images_per_second"))),
        ]
    )
    caption = (
        "Training time and speed of each arm on this machine, where hospitals take turns; hospitals of their own work "
        "at the same time. Traffic above is the sum over all hospitals."
    )
    return section("Cost", numbers, figure(drawings["cost"], caption=caption))


def _sources(report: ReportData) -> str:
    licences = report.metrics.get("licences", {})
    rows = [("", [text(name or "not stated"), count(images)]) for name, images in sorted(licences.items())]
    return section(
        "Data licences and configuration",
        table(["licence", "images"], rows) if rows else "",
        f"<p>Hash of the final model (SHA-256): <code>{text(report.metrics.get('final_hash', '–'))}</code></p>",
        folded("The resolved configuration", f"<pre>{text(report.config_text)}</pre>"),
    )
