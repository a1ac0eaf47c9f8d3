"""The study's results as a page of Markdown for `docs/results`, and as tables for the terminal."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from core.evaluation import markdown
from core.evaluation.label_efficiency import tables
from core.evaluation.label_efficiency.analysis import Analysis, limits
from core.evaluation.label_efficiency.claims import over, sentences
from core.evaluation.label_efficiency.design import OURS
from core.evaluation.label_efficiency.gains import MARGIN
from core.evaluation.label_efficiency.looks import arm_name
from core.evaluation.markdown import section
from core.evaluation.result_tables import Table

ARM_WIDTH = 16
"""Columns of the terminal for an arm's name; a longer one goes on in the next line."""


def results_page(
    analysis: Analysis,
    *,
    name: str,
    commands: Sequence[str],
    versions: Mapping[str, str],
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    """The page.

    Args:
        analysis: The numbers.
        name: Of the run.
        commands: Lines of shell that repeat the run and write this page.
        versions: Name and version of what the run was made with.
        facts: What it cost beyond its cells, and where: name and value.
    """
    claim, *more = sentences(analysis)
    return markdown.page(
        f"Label efficiency: {name}",
        f"**{markdown.plain(claim)}**",
        markdown.bullets(more),
        section("Goals", _table(tables.goals(analysis))),
        section("Scores over labelled patients", f"95% intervals {over(analysis)}.", _table(tables.scores(analysis))),
        section("Gains over random weights", _GAINS.format(draws=analysis.bootstrap), _table(tables.gains(analysis))),
        section("Gain kept", _KEPT, _table(tables.kept(analysis))),
        section("Labels that are saved", _REACH, _table(tables.reach(analysis))),
        section("Cost", _table(tables.cost(analysis))),
        section("Not measured", markdown.bullets(analysis.left_out)),
        section("Limits", markdown.bullets(limits(analysis.design))),
        section("Repeat it", markdown.code("\n".join(commands), language="sh") if commands else ""),
        section("Record", markdown.table(["what", "value"], [[*pair] for pair in _record(analysis, versions, facts)],
                                         words=(1,))),
    )  # fmt: skip


_GAINS = (
    "Paired: the same test patients and labelled patients for all arms. p is two-sided, min(1, 2 (1 + k) / (R + 1)) "
    "with k the smaller count of bootstrap gains at or below and at or above zero, R = {draws}. Holm: over federated "
    "against random weights, core tasks, all defined budgets; other p-values are not adjusted."
)
_KEPT = (
    "Sum over budgets of (federated − random weights), divided by the sum of (pooled − random weights); not defined "
    "where the interval of the pooled gain is not above zero."
)
_REACH = (
    "Labelled patients with which an arm's score is at least that of random weights with all labels; and with which "
    f"the lower 95% bound of the difference is at least −{MARGIN}."
)


def _record(analysis: Analysis, versions: Mapping[str, str], facts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    bootstrap = ("bootstrap", f"{analysis.bootstrap} draws, seed {analysis.seed}")
    return [*facts, bootstrap, *versions.items()]


def _table(found: Table) -> str:
    return markdown.table(found.head, found.rows, words=found.words)


def terminal_tables(analysis: Analysis) -> Group:
    """What a run says at its end, 80 columns wide: scores by task, the share of the gain kept, the goals, the claims.

    Names are shown as they are: square brackets in them are no markup.
    """
    shown: list[RenderableType] = []
    for task in analysis.design.tasks:
        found = tables.task_scores(analysis, task)
        if found.rows:
            shown.append(Text(f"\n{tables.task_name(analysis, task)}", style="italic"))
            shown.append(_rich(found, bold=arm_name(OURS)))
    shown += [Text("\ngain kept", style="italic"), _rich(tables.kept(analysis))]
    goals = tables.goals(analysis)
    shown += [Text("\ngoals", style="italic"), _rich(Table(goals.head[:2], [row[:2] for row in goals.rows]))]
    shown += [Text(f"\n{sentence}") for sentence in sentences(analysis)]
    return Group(*shown)


def _rich(found: Table, *, bold: str = "") -> RichTable:
    """Intervals in brackets go below their number, so that four budgets fit."""
    table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for column, head in enumerate(found.head):
        words = column in found.words
        table.add_column(Text(head), overflow="fold", min_width=ARM_WIDTH if column == 0 else None,
                         ratio=1 if words else None, no_wrap=False)  # fmt: skip
    for row in found.rows:
        style = "bold" if bold and row[0] == bold else ""
        cells = [cell if column in (0, *found.words) else cell.replace(" (", "\n(") for column, cell in enumerate(row)]
        table.add_row(*map(Text, cells), style=style)
    return table
