"""The arms as a table for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from core.evaluation.arms import arm_label, main_first
from core.evaluation.formats import bounds, loss, share, words
from core.evaluation.report_tables import PROBES, organs_of, probes_of


def terminal_table(metrics: Mapping[str, Any]) -> Table:
    """Arms as rows; held-out loss overall and per organ (lower is better), probes with intervals (higher is better).

    Names are shown as they are: square brackets in a hospital's name are no markup.
    """
    organs, probes = organs_of(metrics), probes_of(metrics)
    caption = "loss: held-out, lower is better; probes: balanced accuracy with 95% interval, higher is better"
    table = Table(box=box.SIMPLE, padding=(0, 1), pad_edge=False, collapse_padding=True, caption=caption)
    table.add_column("arm", no_wrap=True, min_width=18, max_width=20)
    for head in ["loss", *map(words, organs), *(f"{words(t)} {PROBES.get(p, p)}" for t, p in probes)]:
        table.add_column(Text(head), justify="right")
    main, rest = main_first(metrics["arms"])
    for arm in [*main, *rest]:
        entry = metrics["arms"][arm]
        losses, tasks = entry.get("held_out_loss", {}), entry.get("tasks", {})
        cells = [Text(loss(losses.get(key))) for key in ["overall", *organs]]
        cells += [_score(tasks.get(task, {}).get(probe)) for task, probe in probes]
        last = bool(main) and arm == main[-1]
        table.add_row(Text(arm_label(arm)), *cells, end_section=last, style="bold" if arm == "federated" else "")
    return table


def _score(score: Mapping[str, Any] | None) -> Text:
    cell = Text(share((score or {}).get("mean")))
    if interval := bounds(score):
        cell.append("\n" + interval.replace(" to ", "-"), style="dim")
    return cell
