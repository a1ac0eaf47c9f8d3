"""The sentence at the top says no more than the interval does."""

import pytest

from core.evaluation.claim import baseline, claim


def _claim(value: float | None, low: float | None, high: float | None, reason: str = "") -> str:
    return claim({"gap_closed": {"value": value, "low": low, "high": high, "reason": reason}})


def test_an_interval_above_zero_is_claimed_with_its_bounds() -> None:
    sentence = _claim(0.82, 0.7, 0.91)
    assert sentence.startswith("Federation closed 82% (95% interval 70% to 91%) of the gap in held-out loss")


@pytest.mark.parametrize(
    ("value", "low", "high", "reason", "said"),
    [
        (None, None, None, "no gap to close", "no gap to close."),
        (0.4, None, None, "the interval has no bounds", "but the interval has no bounds."),
        (0.4, -0.1, 0.9, "", "the interval holds zero."),
    ],
)
def test_what_is_not_shown_is_called_so(value, low, high, reason, said) -> None:
    sentence = _claim(value, low, high, reason)
    assert sentence.startswith("Not shown")
    assert sentence.endswith(said)


def test_a_federation_that_does_harm_is_called_worse() -> None:
    assert _claim(-0.4, -0.9, -0.1).startswith("Federation did worse than hospitals that train alone")


def test_a_run_without_the_number_claims_nothing() -> None:
    assert claim({}).startswith("Not shown")
    assert baseline({}) == ""


def test_the_baseline_is_reported_beside_it() -> None:
    gap = {"value": 0.5, "low": 0.3, "high": 0.7, "reason": ""}
    assert "closed 50% (95% interval 30% to 70%)" in baseline({"gap_closed_fedavg": gap})
