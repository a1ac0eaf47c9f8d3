"""The two long tables of the report: the arms, and the rounds of the federation."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.evaluation.arms import arm_label, arm_meaning, main_first
from core.evaluation.formats import NONE, bounds, count, loss, share, words
from core.evaluation.report_page import bullets, folded, section, table, text
from core.evaluation.result_tables import Table
from core.evaluation.scores import organs_of, probe_label, probes_of, score_of

MOST_ROUNDS = 25
"""Rounds shown without a click."""
MOST_FOLDED = 200
"""Rounds shown at all; a page of more is heavy to mail."""


def arms_section(metrics: Mapping[str, Any]) -> str:
    """The main arms, the rest under a fold, and why scores are missing."""
    main, rest = main_first(metrics["arms"])
    note = (
        "Held-out loss: mean of patients, organs weighted by the target mix; lower is better, no unit. Probes: "
        "balanced accuracy on test patients with its 95% interval; higher is better. Seconds: training only."
    )
    return section(
        "The arms",
        _arms_table(metrics, main, whole=False),
        f'<p class="soft">{text(note)}</p>',
        bullets(_missing(metrics, main)),
        folded("What the arms are", bullets(_meanings(metrics, main))),
        folded(f"{len(rest)} more arms: each hospital alone, both ways of pooling", _rest(metrics, rest)),
    )


def plain_table(found: Table, *, ours: str = "") -> str:
    """A table of text, escaped; the row that is headed by `ours` stands out. Nothing where there is no row.

    What stands in brackets behind a number goes below it, so that the table stays narrow.
    """
    rows = [
        ("ours" if ours and row[0] == ours else "",
         [text(cell) if column in (0, *found.words) else _number_cell(cell) for column, cell in enumerate(row)])
        for row in found.rows
    ]  # fmt: skip
    return table([text(cell) for cell in found.head], rows, words=found.words) if rows else ""


def _number_cell(cell: str) -> str:
    number, bracket, rest = cell.partition(" (")
    return text(number) + (f"<small>{text(rest.removesuffix(')'))}</small>" if bracket else "")


def _meanings(metrics: Mapping[str, Any], arms: Sequence[str]) -> list[str]:
    return [f"{arm_label(arm)}: {arm_meaning(arm, metrics.get('reference', ''))}." for arm in arms]


def _rest(metrics: Mapping[str, Any], arms: Sequence[str]) -> str:
    return _arms_table(metrics, arms, whole=True) + bullets(_missing(metrics, arms)) if arms else ""


def _arms_table(metrics: Mapping[str, Any], arms: Sequence[str], *, whole: bool) -> str:
    """The arms by row; losses by organ and segmentation only in the whole table, as the main arms have others."""
    shown = organs_of(metrics) if whole else []
    probes = probes_of(metrics, segmentation=None if whole else False)
    head = ["arm", "held-out loss", *(text(words(organ)) for organ in shown)]
    head += [f"{text(words(task))}<small>{text(probe_label(probe))}</small>" for task, probe in probes]
    rows = []
    for arm in arms:
        entry = metrics["arms"][arm]
        losses = entry.get("held_out_loss", {})
        meaning = arm_meaning(arm, metrics.get("reference", ""))
        name = f'<span title="{text(meaning)}">{text(arm_label(arm))}</span>'
        cells = [name, *(loss(losses.get(key)) for key in ["overall", *shown])]
        cells += [_probe_cell(score_of(entry, task, probe)) for task, probe in probes]
        rows.append(
            ("ours" if arm == "federated" else "", [*cells, count(entry.get("images")), count(entry.get("seconds"))])
        )
    return table([*head, "images seen", "seconds"], rows)


def _probe_cell(score: Mapping[str, Any] | None) -> str:
    inner = bounds(score)
    return share((score or {}).get("mean")) + (f"<small>{inner}</small>" if inner else "")


def _missing(metrics: Mapping[str, Any], arms: Sequence[str]) -> list[str]:
    """Why a dash stands in the table: one line a reason and probe, with the arms that it concerns."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for arm in arms:
        for task, probes in sorted(metrics["arms"][arm].get("tasks", {}).items()):
            for probe, score in probes.items():
                if score.get("mean") is None:
                    reason = score.get("reason") or "no reason given"
                    found.setdefault((task, probe, reason), []).append(arm_label(arm))
    return [f"Not shown, {words(task)}, {probe_label(probe)}: {reason} ({', '.join(names)})."
            for (task, probe, reason), names in found.items()]  # fmt: skip


def rounds_section(receipts: Sequence[Mapping[str, Any]], mix: Mapping[str, float]) -> str:
    """Who contributed in each round, who did not and why, and how far the organ mix was from its target."""
    if not receipts:
        return ""
    whole = sum(not _failed(receipt) for receipt in receipts)
    summary = f"{whole} of {len(receipts)} rounds had every hospital."
    if whole < len(receipts):
        summary += " A round without a hospital trains on another organ mix; the last column but one says by how much."
    everyone = {site for receipt in receipts for site in receipt.get("contributors", {})}
    rows = [("", _round_cells(receipt, mix, everyone=everyone)) for receipt in receipts]
    head = ["round", "contributed", "refused, with reason", "late or absent, with reason",
            "largest shift of the mix<small>percentage points</small>", "model hash"]  # fmt: skip
    whole_table = table(head, rows, words=range(1, 6))
    if len(receipts) <= MOST_ROUNDS:
        return section("Rounds", f"<p>{text(summary)}</p>", whole_table)
    failed = [row for row, receipt in zip(rows, receipts, strict=True) if _failed(receipt)]
    shown = table(head, failed, words=range(1, 6)) if failed else ""
    every = folded(f"All {len(receipts)} rounds", whole_table)
    if len(receipts) > MOST_FOLDED:
        every = "<p>Every round stands in <code>receipts.jsonl</code> beside this page.</p>"
    return section("Rounds", f"<p>{text(summary)}</p>", shown, every)


def _failed(receipt: Mapping[str, Any]) -> bool:
    return bool(receipt.get("refused") or receipt.get("absent"))


def _round_cells(receipt: Mapping[str, Any], mix: Mapping[str, float], *, everyone: set[str]) -> list[str]:
    sites = sorted(receipt.get("contributors", {}))
    every = len(sites) == len(everyone) and not _failed(receipt)
    contributed = f"all {len(sites)}" if every else f"{len(sites)}<small>{text(', '.join(sites))}</small>"
    return [text(receipt.get("round", NONE)), contributed, _reasons(receipt.get("refused")),
            _reasons(receipt.get("absent")), text(_mix_shift(receipt.get("effective_mix") or {}, mix)),
            f"<code>{text(str(receipt.get('model_hash', NONE))[:12])}</code>"]  # fmt: skip


def _reasons(sites: Mapping[str, Any] | None) -> str:
    return "<br>".join(f"{text(site)}: {text(reason)}" for site, reason in sorted((sites or {}).items())) or NONE


def _mix_shift(effective: Mapping[str, float], target: Mapping[str, float]) -> str:
    """The organ whose share of the round differs most from the target."""
    if not effective or not target:
        return NONE
    shifts = {organ: effective.get(organ, 0.0) - share_ for organ, share_ in sorted(target.items())}
    organ = max(shifts, key=lambda name: abs(shifts[name]))
    return "none" if abs(shifts[organ]) < 0.0005 else f"{words(organ)} {100 * shifts[organ]:+.1f}"
