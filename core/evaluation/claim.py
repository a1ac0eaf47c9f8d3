"""The one sentence at the top of the report, no stronger than its interval."""

from collections.abc import Mapping
from typing import Any

from core.evaluation.formats import percent


def claim(metrics: Mapping[str, Any]) -> str:
    """What the run shows of the gap between training alone and pooling; `Not shown` unless the interval is above 0."""
    gap = metrics.get("gap_closed") or {}
    value, low, high = gap.get("value"), gap.get("low"), gap.get("high")
    what = "of the gap in held-out loss between hospitals that train alone and one model on the pooled images"
    if value is None:
        reason = gap.get("reason") or "it was not measured"
        return f"Not shown: how much {what} federation closes; {reason}."
    if low is None or high is None:
        reason = gap.get("reason") or "it has no interval"
        return f"Not shown: federation closed {percent(value)} {what} on these patients, but {reason}."
    interval = f"(95% interval {percent(low)} to {percent(high)})"
    if low <= 0 <= high:
        return f"Not shown: federation closed {percent(value)} {what} {interval}, and the interval holds zero."
    if high < 0:
        return (
            "Federation did worse than hospitals that train alone: "
            f"it closed {percent(value)} {what} {interval}."
        )  # fmt: skip
    return f"Federation closed {percent(value)} {interval} {what}."


def baseline(metrics: Mapping[str, Any]) -> str:
    """The same number for FedAvg, or nothing where it was not run."""
    gap = metrics.get("gap_closed_fedavg") or {}
    if gap.get("value") is None:
        return ""
    low, high = gap.get("low"), gap.get("high")
    interval = f" (95% interval {percent(low)} to {percent(high)})" if low is not None and high is not None else ""
    return (
        f"The FedAvg baseline closed {percent(gap['value'])}{interval}. "
        "The two intervals share patients and are no test of the difference."
    )
