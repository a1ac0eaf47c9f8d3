"""The arms as tables for a terminal of 80 columns: held-out losses by organ, then probes by task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from core.evaluation.arms import LOCAL, arm_label, main_first
from core.evaluation.formats import bounds, loss, share, words
from core.evaluation.scores import organs_of, probe_label, probes_of, score_of

WIDTH = 80
"""Columns of a terminal that show everything; in a wider one the tables stay as they are."""
ARM_WIDTH = 20
"""Columns for an arm's name; a longer one goes on in the next line."""
ORGANS_ABREAST = 7
"""Organs in one table, with at least 6 columns each; more organs take more tables."""
PROBES_ABREAST = 4
"""Probes in one table, with 14 columns each."""
LONGEST_HEAD = 12
"""Letters of an organ's name, at most."""

Arm = Mapping[str, Any]
Column = tuple[str, Callable[[Arm], str]]
"""Heading, and what stands below it for an arm."""


def terminal_table(metrics: Mapping[str, Any]) -> Group:
    """Arms as rows; held-out loss overall and by organ, then the probes' scores with their intervals.

    Names are shown as they are: square brackets in a hospital's name are no markup.
    """
    organs = organs_of(metrics)
    width = min(LONGEST_HEAD, _room(min(len(organs), ORGANS_ABREAST) + 1))
    overall: Column = ("all", lambda arm: loss(arm.get("held_out_loss", {}).get("overall")))
    losses = _parts([_organ(organ, width=width) for organ in organs], ORGANS_ABREAST)
    shown: list[RenderableType] = []
    if losses:
        shown.append(Text("\nheld-out loss (lower is better)", style="italic"))
        shown += [_table(metrics, [overall, *part], justify="right") for part in losses]
    for segmentation, measure in ((False, "balanced accuracy"), (True, "Dice")):
        probes = [_probe(task, probe) for task, probe in probes_of(metrics, segmentation=segmentation)]
        if probes:
            shown.append(Text(f"\n{measure} and its 95% interval (higher is better)", style="italic"))
            shown += [_table(metrics, part, justify="left") for part in _parts(probes, PROBES_ABREAST)]
    return Group(*shown)


def _parts(columns: Sequence[Column], most: int) -> list[Sequence[Column]]:
    return [columns[start : start + most] for start in range(0, len(columns), most)]


def _room(columns: int) -> int:
    """Letters that each of so many columns has beside the arm's name."""
    return (WIDTH - ARM_WIDTH) // columns - 1


def _organ(organ: str, *, width: int) -> Column:
    """One organ's loss; a name of several words is written in several lines, a long word is shortened."""
    lines = [word if len(word) <= width else f"{word[: width - 1]}." for word in words(organ).split()]
    return "\n".join(lines), lambda arm: loss(arm.get("held_out_loss", {}).get(organ))


def _probe(task: str, probe: str) -> Column:
    def cell(arm: Arm) -> str:
        score = score_of(arm, task, probe)
        return f"{share(score.get('mean'))} {bounds(score).replace(' to ', '-')}".strip()

    return f"{words(task)}\n{probe_label(probe)}", cell


def _table(metrics: Mapping[str, Any], columns: Sequence[Column], *, justify: JustifyMethod) -> Table:
    # One space between columns and nothing else, so that the widths above add up.
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("arm", width=ARM_WIDTH, overflow="fold", vertical="top")
    for head, _ in columns:
        table.add_column(Text(head), justify=justify, max_width=_room(len(columns)), overflow="fold")
    main, rest = main_first(metrics["arms"])
    alone = [arm for arm in rest if arm.startswith(LOCAL)]
    for group in (main, [arm for arm in rest if arm not in alone], alone):
        if group and group is alone:
            table.add_row(Text("each hospital alone:", style="italic"))
        for arm in group:
            cells = [cell(metrics["arms"][arm]) for _, cell in columns]
            style = "bold" if arm == "federated" else ""
            name = arm.removeprefix(LOCAL) if group is alone else arm_label(arm)
            table.add_row(Text(name), *cells, end_section=arm == group[-1], style=style)
    return table
