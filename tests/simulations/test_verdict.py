"""The last lines of a run never say more than what happened."""

from pathlib import Path
from typing import Any

from simulations.verdict import verdict


def gap(value: float | None, low: float | None = None, high: float | None = None, reason: str = "") -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "reason": reason}


METRICS = {"gap_closed": gap(0.814, 0.6, 0.95), "gap_closed_fedavg": gap(0.5, reason="too wide"), "final_hash": "abc"}


def receipt(number: int, **left_out: dict[str, str]) -> dict[str, Any]:
    return {"round": number, "absent": {}, "refused": {}, "quarantined": {}, **left_out}


def test_a_run_in_which_everybody_contributed() -> None:
    lines = list(verdict(METRICS, [receipt(0), receipt(1)], folder=Path("runs/r")))
    assert lines == [
        "gap between one hospital alone and pooled data closed by federated, organ-aware: "
        "0.81 (95% interval 0.60 to 0.95, over patients, one training seed)",
        "gap between one hospital alone and pooled data closed by federated, FedAvg: 0.50 (no interval: too wide)",
        "final hash abc",
        "finished; every hospital contributed to every round",
        "report runs/r/report.html",
    ]


def test_a_gap_that_cannot_be_had_is_not_shown_as_a_number() -> None:
    lines = list(verdict({**METRICS, "gap_closed": gap(None, reason="no gap")}, [], folder=Path("r")))
    assert lines[0].endswith("not shown (no gap)")


def test_who_was_missing_stands_there_with_rounds_and_reason() -> None:
    receipts = [
        receipt(0, absent={"north": "no reply in time"}),
        receipt(1, absent={"north": "no reply in time"}, refused={"west": "NaN"}),
        receipt(2, refused={"west": "NaN"}, quarantined={"west": "refused 2 times running"}),
        receipt(3, quarantined={"west": "refused 2 times running"}),
    ]
    lines = list(verdict(METRICS, receipts, folder=Path("r")))
    assert "finished; every hospital contributed to every round" not in lines
    start = lines.index("finished, but NOT every hospital contributed to every round:")
    assert lines[start + 1 : -1] == [
        "  north: rounds 0, 1: no reply in time",
        "  west: rounds 1, 2: NaN",
        "  west: rounds 3: quarantined, refused 2 times running",
    ]
