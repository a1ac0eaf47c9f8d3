"""The sentences at the top of the report; none is stronger than its interval."""

from collections.abc import Mapping
from typing import Any

from core.evaluation.formats import difference, loss, percent, words

GAP = "of the gap in held-out loss between hospitals that train alone and one model on the pooled images"
GAIN = "of what pooled pretraining gains on the tasks"


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """The claim first; then FedAvg's number, the gain on tasks and the rarest organ, as far as the run has them."""
    return [text for text in (claim(metrics), baseline(metrics), kept(metrics), rarest(metrics)) if text]


def claim(metrics: Mapping[str, Any]) -> str:
    """What the run shows of the gap between training alone and pooling; `Not shown` unless the interval is above 0."""
    gap = metrics.get("gap_closed") or {}
    value, low, high = gap.get("value"), gap.get("low"), gap.get("high")
    if value is None:
        reason = gap.get("reason") or "it was not measured"
        return f"Not shown: how much {GAP} federation closes; {reason}."
    if low is None or high is None:
        reason = gap.get("reason") or "it has no interval"
        return f"Not shown: federation closed {percent(value)} {GAP} on these patients, but {reason}."
    interval = _interval(percent(low), percent(high), metrics)
    if low <= 0 <= high:
        return f"Not shown: federation closed {percent(value)} {GAP} {interval}, and the interval holds zero."
    if high < 0:
        return f"Federation did worse than hospitals that train alone: it closed {percent(value)} {GAP} {interval}."
    return f"Federation closed {percent(value)} {interval} {GAP}."


def baseline(metrics: Mapping[str, Any]) -> str:
    """The same number for FedAvg, or nothing where it was not run."""
    gap = metrics.get("gap_closed_fedavg") or {}
    if gap.get("value") is None:
        return ""
    low, high = gap.get("low"), gap.get("high")
    interval = f" {_interval(percent(low), percent(high), metrics)}" if low is not None and high is not None else ""
    return (
        f"The FedAvg baseline closed {percent(gap['value'])}{interval}. "
        "The two intervals share patients and are no test of the difference."
    )


def kept(metrics: Mapping[str, Any]) -> str:
    """How much of pooling's gain on tasks the federation keeps, or why that is not shown; nothing in older runs."""
    gain = metrics.get("gain_kept")
    if gain is None:
        return ""
    value, low, high = gain.get("value"), gain.get("low"), gain.get("high")
    if value is None:
        return f"Not shown: how much {GAIN} federation keeps; {gain.get('reason') or 'it was not measured'}."
    tasks = ", ".join(words(str(name)) for name in gain.get("tasks") or [])
    on = f" ({tasks})" if tasks else ""
    if low is None or high is None:
        reason = gain.get("reason") or "it has no interval"
        return f"Not shown: federation kept {percent(value)} {GAIN}{on}, but {reason}."
    interval = _interval(percent(low), percent(high), metrics)
    if low <= 0 <= high:
        return f"Not shown: federation kept {percent(value)} {GAIN}{on} {interval}, and the interval holds zero."
    if high < 0:
        return f"On the tasks{on} federation did worse than random weights: it kept {percent(value)} {interval} {GAIN}."
    return f"Federation kept {percent(value)} {interval} {GAIN}{on}."


def rarest(metrics: Mapping[str, Any]) -> str:
    """Federation against FedAvg on the rarest organ; nothing where the run does not compare them."""
    organ = next(iter(metrics.get("rarest") or []), None)
    found = (metrics.get("comparisons") or {}).get(f"federated_minus_fedavg:{organ}")
    if organ is None or found is None:
        return ""
    where, (value, low, high) = f"On {words(organ)}, the rarest organ,", map(found.get, ("value", "low", "high"))
    if value is None or low is None or high is None:
        reason = found.get("reason") or "the difference has no interval"
        return f"{where} federation and FedAvg are not compared: {reason}."
    if low <= 0 <= high:
        interval = _interval(difference(low), difference(high), metrics)
        apart = f"held-out loss differs by {difference(value)} {interval}, and the interval holds zero"
        return f"{where} federation and FedAvg are not told apart: {apart}."
    better = high < 0
    size = (-high, -low) if better else (low, high)
    interval = _interval(loss(size[0]), loss(size[1]), metrics)
    side = "lower" if better else "higher"
    return f"{where} federation's held-out loss is {side} than FedAvg's by {loss(abs(value))} {interval}."


def over(metrics: Mapping[str, Any]) -> str:
    """What an interval of this run speaks of."""
    seeds = metrics.get("seeds") or []
    return f"over patients and {len(seeds)} training seeds" if len(seeds) > 1 else "over patients, one training seed"


def _interval(low: str, high: str, metrics: Mapping[str, Any]) -> str:
    return f"(95% interval {low} to {high} {over(metrics)})"
