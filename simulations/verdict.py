"""What a run says last: what came out, where it lies, and whether every hospital took part."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.evaluation.claim import over


def verdict(metrics: Mapping[str, Any], receipts: Sequence[Mapping[str, Any]], *, folder: Path) -> Iterator[str]:
    """Lines of plain text."""
    if metrics["final_hash"] is None:
        yield "finished; no federation was asked for"
        yield f"report {folder / 'report.html'}"
        return
    for key, label in (("gap_closed", "federated, organ-aware"), ("gap_closed_fedavg", "federated, FedAvg")):
        yield f"gap between one hospital alone and pooled data closed by {label}: {_gap(metrics[key], over(metrics))}"
    yield f"final hash {metrics['final_hash']}"
    missing = _missing(receipts)
    if missing:
        yield "finished, but NOT every hospital contributed to every round:"
        yield from (f"  {site}: {reason}" for site, reason in missing)
    else:
        yield "finished; every hospital contributed to every round"
    yield f"report {folder / 'report.html'}"


def _gap(gap: Mapping[str, Any], over_what: str) -> str:
    if gap["value"] is None:
        return f"not shown ({gap['reason']})"
    if gap["low"] is None:
        return f"{gap['value']:.2f} (no interval: {gap['reason']})"
    return f"{gap['value']:.2f} (95% interval {gap['low']:.2f} to {gap['high']:.2f}, {over_what})"


def _missing(receipts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Site and reason, one line each reason, with its rounds."""
    rounds: dict[tuple[str, str], list[int]] = {}
    for receipt in receipts:
        left_out = {**receipt["absent"], **receipt["refused"]}
        left_out |= {
            site: f"quarantined, {why}" for site, why in receipt["quarantined"].items() if site not in left_out
        }
        for site, reason in left_out.items():
            rounds.setdefault((site, str(reason)), []).append(int(receipt["round"]))
    return [
        (site, f"rounds {', '.join(map(str, numbers))}: {reason}") for (site, reason), numbers in sorted(rounds.items())
    ]
