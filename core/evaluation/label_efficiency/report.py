"""The report of the study: one HTML file that can be mailed and opened anywhere, and the data of its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.evaluation.arms import arm_meaning
from core.evaluation.drawing import Drawing
from core.evaluation.label_efficiency import figures, tables
from core.evaluation.label_efficiency.analysis import Analysis, limits
from core.evaluation.label_efficiency.claims import over, sentences
from core.evaluation.label_efficiency.design import OURS
from core.evaluation.label_efficiency.gains import MARGIN
from core.evaluation.label_efficiency.looks import PUBLIC, arm_name
from core.evaluation.label_efficiency.predictions import RULE, Example, example_row
from core.evaluation.report import FIGURES
from core.evaluation.report_page import bullets, facts, figure, folded, page, section, text
from core.evaluation.report_tables import plain_table
from core.files import write_text

Drawings = Mapping[str, Drawing | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyReport:
    """All that the page shows."""

    analysis: Analysis
    name: str
    """Of the run, for the title."""
    examples: Sequence[Example] = ()
    rule: str = RULE
    """By what rule the examples were chosen."""
    facts: Sequence[tuple[str, str]] = ()
    """What the study cost beyond its cells, for example ("pretraining", "31 min"): name and value as text."""
    commands: Sequence[str] = ()
    """Lines of shell that repeat the run."""
    config_text: str = ""
    """The resolved configuration."""


def write_report(path: Path, report: StudyReport) -> None:
    """Write the page and, in `figures/` beside it, every figure's data as CSV, each whole or not at all."""
    drawings = draw(report.analysis)
    content = _page(report, drawings)
    for drawing in filter(None, drawings.values()):
        write_text(path.parent / FIGURES / f"{drawing.name}.csv", drawing.csv())
    write_text(path, content)


def report_html(report: StudyReport) -> str:
    """The page as text. Names from outside are escaped everywhere."""
    return _page(report, draw(report.analysis))


def draw(analysis: Analysis) -> Drawings:
    """Every figure; None where the study has nothing to show in it."""
    return {
        "curves": figures.curves(analysis),
        "single": figures.single(analysis),
        "gains": figures.gains(analysis),
        "kept": figures.kept(analysis),
    }


def _page(report: StudyReport, drawings: Drawings) -> str:
    analysis = report.analysis
    title = f"{report.name}: how many labels pretraining saves"
    claim, *more = sentences(analysis)
    parts = [
        f"<h1>{text(title)}</h1>",
        f'<p class="claim">{text(claim)}</p>',
        *(f"<p>{text(sentence)}</p>" for sentence in more),
        section("Goals", plain_table(tables.goals(analysis))),
        _curves(analysis, drawings),
        _gains(analysis, drawings),
        _kept(analysis, drawings),
        _reach(analysis),
        _examples(report),
        _cost(report),
        section("Not measured", bullets(analysis.left_out)),
        section("Limits", bullets(limits(analysis.design))),
        _repeat(report),
    ]
    return page(title=title, body="\n".join(part for part in parts if part))


def _curves(analysis: Analysis, drawings: Drawings) -> str:
    caption = (
        "Higher is better. Test patients that no arm has seen, after fine-tuning with so many labelled patients; all "
        f"arms get the same ones. Bands and bars are 95% intervals {over(analysis)}; small dots are single draws. Arms "
        "whose bands overlap may still be told apart, since they share patients and draws: see the gains below."
    )
    one = f"Tasks that were run with one budget. Bars are 95% intervals {over(analysis)}. Descriptive: few patients."
    return section(
        "Scores over labelled patients",
        figure(drawings["curves"], caption=caption),
        figure(drawings["single"], caption=one),
        *(_scores(analysis, task) for task in analysis.design.tasks),
        folded("What the arms are", bullets(_meanings(analysis))),
    )


def _scores(analysis: Analysis, task: str) -> str:
    """A task's table, and under a fold its further metrics; nothing where nothing was run."""
    table = plain_table(tables.task_scores(analysis, task), ours=arm_name(OURS))
    more = folded("Further metrics, mean over draws", plain_table(tables.further(analysis, task)))
    return f"<h3>{text(tables.task_name(analysis, task))}</h3>\n{table}\n{more}" if table else ""


def _meanings(analysis: Analysis) -> list[str]:
    own = {"local": "the hospital whose own pretraining is the median of the hospitals by the task's validation score",
           "local_best": "the hospital whose own pretraining is the best by the task's validation score",
           "centralized": arm_meaning("centralized_long")}  # fmt: skip
    said = {arm: own.get(arm) or ("weights from a file" if arm.split(":")[0] == PUBLIC else arm_meaning(arm))
            for arm in analysis.design.arms}  # fmt: skip
    return [f"{arm_name(arm)}: {meaning}." for arm, meaning in said.items() if meaning]


def _gains(analysis: Analysis, drawings: Drawings) -> str:
    caption = (
        "Score of each arm minus that of random weights, on the same test patients with the same labelled patients; "
        f"right of the dotted line the arm is better. Bars are 95% intervals {over(analysis)}."
    )
    note = (
        f"p is two-sided, from the same {analysis.bootstrap:,} bootstrap draws: min(1, 2 (1 + k) / (R + 1)), k the "
        "smaller count of gains at or below zero and at or above zero. Holm: adjusted over federated against random "
        "weights on the core tasks at all defined budgets; other p-values are not adjusted."
    )
    table = plain_table(tables.gains(analysis))
    return section("Gains over random weights", figure(drawings["gains"], caption=caption), table,
                   f'<p class="soft">{text(note)}</p>' if table else "")  # fmt: skip


def _kept(analysis: Analysis, drawings: Drawings) -> str:
    caption = (
        "Sum over budgets of (federated − random weights) divided by the sum of (pooled − random weights); overall, "
        "both sums are over the core tasks too. Not defined where the interval of the pooled gain is not above zero. "
        f"Bars are 95% intervals {over(analysis)}."
    )
    note = "" if drawings["kept"] else f'<p class="soft">{text(caption)}</p>'
    return section("Gain kept", figure(drawings["kept"], caption=caption), note, plain_table(tables.kept(analysis)))


def _reach(analysis: Analysis) -> str:
    note = (
        "The smallest number of labelled patients with which an arm's score is at least that of random weights with "
        f"all labels; and the smallest with which the lower 95% bound of the difference is at least −{MARGIN}."
    )
    table = plain_table(tables.reach(analysis))
    return section("Labels that are saved", f'<p class="soft">{text(note)}</p>' if table else "", table)


def _examples(report: StudyReport) -> str:
    if not report.examples:
        return ""
    key = "Yellow: the annotated outline. Blue: the prediction. Numbers are the score of the image or patient."
    rows = "\n".join(example_row(example) for example in report.examples)
    return section("Example predictions", f'<p class="soft">{text(report.rule)} {text(key)}</p>', rows)


def _cost(report: StudyReport) -> str:
    note = "Time of fine-tuning and scoring, summed over processes that worked side by side."
    table = plain_table(tables.cost(report.analysis))
    return section("Cost", facts(report.facts) if report.facts else "", table,
                   f'<p class="soft">{text(note)}</p>' if table else "")  # fmt: skip


def _repeat(report: StudyReport) -> str:
    commands, config = "\n".join(report.commands), report.config_text
    return section(
        "Repeat it",
        f"<pre>{text(commands)}</pre>" if commands else "",
        folded("The resolved configuration", f"<pre>{text(config)}</pre>" if config else ""),
    )
