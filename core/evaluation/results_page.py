"""A run's results as a page of Markdown: what it shows, how to repeat it, its tables, its goals, its limits."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.evaluation import markdown, result_tables
from core.evaluation.claim import over, sentences
from core.evaluation.formats import NONE, count, loss, seconds, size
from core.evaluation.goals import Goal, judge
from core.evaluation.markdown import section
from core.evaluation.result_tables import Table


def results_page(
    metrics: Mapping[str, Any], *, commands: Sequence[str], goals: Sequence[Goal], versions: Mapping[str, str]
) -> str:
    """The page.

    Args:
        metrics: The content of `metrics.json`, checked.
        commands: Lines of shell that repeat the run.
        goals: What the study wanted to show.
        versions: Name and version of what the run was made with.
    """
    claim, *further = sentences(metrics)
    return markdown.page(
        f"Results of the run {metrics['name']}",
        f"**{markdown.plain(claim)}**",
        markdown.bullets(further),
        _goals(metrics, goals),
        section("Held-out loss by organ", _LOSS_NOTE, _table(result_tables.losses(metrics))),
        section("Gap closed and gain kept", _interval_note(metrics), _table(result_tables.gaps(metrics))),
        section("Differences", _table(result_tables.comparisons(metrics))),
        section("By training seed", _table(result_tables.by_seed(metrics))),
        section("Segmentation", _with_note(_DICE_NOTE, result_tables.scores(metrics, segmentation=True))),
        section("Classification", _with_note(_PROBE_NOTE, result_tables.scores(metrics, segmentation=False))),
        section("Cost", _traffic(metrics), _table(result_tables.cost(metrics))),
        section("Limits", markdown.bullets(metrics.get("limits") or [])),
        _repeat(commands),
        section("Record", _record(metrics, versions)),
    )


_LOSS_NOTE = (
    "Dual-MIM loss on patients that no arm has seen, lower is better; the rarest organ first. It has no unit, and "
    "compares with runs of the same objective only. Differences stand with their 95% intervals."
)
_DICE_NOTE = (
    "Dice of held-out patients, 0 to 1, higher is better, with 95% intervals: from the frozen encoder by a linear map, "
    "and after fine-tuning with few labelled patients."
)
_PROBE_NOTE = (
    "Balanced accuracy of probes of the frozen encoder on held-out patients, 0 to 1, higher is better, with 95% "
    "intervals. Intervals that overlap widely do not tell two arms apart."
)
_RESUME_NOTE = (
    "The second line goes on where the first was stopped, as often as needed. On one machine, with the same torch and "
    "number of threads, the final hash is the same. This page is written by `python -m simulations.results_page`."
)


def _interval_note(metrics: Mapping[str, Any]) -> str:
    return f"Intervals are {over(metrics)}."


def _table(found: Table) -> str:
    return markdown.table(found.head, found.rows, words=found.words)


def _with_note(note: str, found: Table) -> str:
    return f"{note}\n\n{_table(found)}" if found.rows else ""


def _goals(metrics: Mapping[str, Any], goals: Sequence[Goal]) -> str:
    rows = []
    for goal, verdict, value in judge(goals, metrics):
        bound = f"{goal.rule.replace('_', ' ')} {goal.bound:g}"
        rows.append([goal.text, verdict, NONE if value is None else loss(value), bound])
    return section("Goals", markdown.table(["goal", "verdict", "measured", "wanted"], rows, words=(1,)))


def _traffic(metrics: Mapping[str, Any]) -> str:
    volume, timing = metrics.get("bytes") or {}, metrics.get("timing") or {}
    complete = metrics.get("complete")
    who = "who took part is not said" if complete is None else f"{'' if complete else 'not '}every hospital in each"
    parts = [
        f"{count(metrics.get('rounds'))} rounds, {who}",
        f"{size(volume.get('up'))} to the server, {size(volume.get('down'))} to the hospitals, over all rounds",
        f"{seconds(timing.get('seconds'))} of training for all arms",
    ]
    return f"{'; '.join(parts)}."


def _repeat(commands: Sequence[str]) -> str:
    if not commands:
        return ""
    return section("Repeat it", markdown.code("\n".join(commands), language="sh"), _RESUME_NOTE)


def _record(metrics: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    facts = {
        "final hash": metrics.get("final_hash"),
        "plan": metrics.get("plan"),
        "training seeds": ", ".join(str(seed) for seed in metrics.get("seeds") or []) or None,
        "code": metrics.get("code_version"),
        **versions,
    }
    licences = ", ".join(f"{name or 'not stated'} ({count(n)})" for name, n in (metrics.get("licences") or {}).items())
    rows = [[name, value] for name, value in {**facts, "training images by licence": licences}.items() if value]
    return markdown.table(["what", "value"], rows, words=(1,))
