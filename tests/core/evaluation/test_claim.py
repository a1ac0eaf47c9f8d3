"""The sentence at the top says no more than the interval does."""

import pytest

from core.evaluation.claim import baseline, claim, kept, rarest, sentences


def _claim(value: float | None, low: float | None, high: float | None, reason: str = "") -> str:
    return claim({"gap_closed": {"value": value, "low": low, "high": high, "reason": reason}})


def test_an_interval_above_zero_is_claimed_with_its_bounds() -> None:
    sentence = _claim(0.82, 0.7, 0.91)
    assert sentence.startswith(
        "Federation closed 82% (95% interval 70% to 91% over patients, one training seed) of the gap"
    )


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
    assert "closed 50% (95% interval 30% to 70% over patients, one training seed)" in baseline(
        {"gap_closed_fedavg": gap}
    )


def test_several_seeds_are_named_in_the_interval() -> None:
    gap = {"value": 0.5, "low": 0.3, "high": 0.7, "reason": ""}
    assert "(95% interval 30% to 70% over patients and 2 training seeds)" in claim({"gap_closed": gap, "seeds": [0, 7]})
    assert "one training seed" in claim({"gap_closed": gap, "seeds": [0]})


def _kept(value: float | None, low: float | None = None, high: float | None = None, reason: str = "") -> str:
    gain = {"value": value, "low": low, "high": high, "reason": reason, "tasks": ["breast_mass/frozen"]}
    return kept({"gain_kept": gain})


def test_a_kept_gain_is_claimed_only_above_zero_and_its_tasks_are_named() -> None:
    assert _kept(0.8, 0.6, 1.1).startswith("Federation kept 80% (95% interval 60% to 110% over patients")
    assert _kept(0.8, 0.6, 1.1).endswith("(breast mass/frozen).")
    assert _kept(0.2, -0.1, 0.5).startswith("Not shown")
    assert _kept(-0.3, -0.5, -0.1).startswith("On the tasks (breast mass/frozen) federation did worse")


def test_a_gain_that_is_not_shown_says_why_and_an_older_run_says_nothing() -> None:
    assert _kept(None, reason="pooling gained nothing").endswith("pooling gained nothing.")
    assert _kept(0.4, reason="one patient").endswith("but one patient.")
    assert kept({}) == ""


def _rarest(value: float | None, low: float | None, high: float | None) -> str:
    found = {"value": value, "low": low, "high": high, "reason": "no such patient"}
    return rarest({"rarest": ["fetal_head", "liver"], "comparisons": {"federated_minus_fedavg:fetal_head": found}})


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (-0.05, -0.08, -0.02, "loss is lower than FedAvg's by 0.050 (95% interval 0.020 to 0.080"),
        (0.05, 0.02, 0.08, "loss is higher than FedAvg's by 0.050 (95% interval 0.020 to 0.080"),
        (-0.01, -0.03, 0.01, "not told apart: held-out loss differs by -0.010 (95% interval -0.030 to +0.010"),
        (-0.01, None, None, "not compared: no such patient"),
        (None, None, None, "not compared: no such patient"),
    ],
)
def test_the_rarest_organ_is_compared_as_far_as_its_interval_allows(value, low, high, said) -> None:
    assert _rarest(value, low, high).startswith("On fetal head, the rarest organ,")
    assert said in _rarest(value, low, high)


def test_without_a_comparison_on_the_rarest_organ_there_is_no_sentence() -> None:
    assert rarest({}) == rarest({"rarest": ["liver"]}) == rarest({"rarest": [], "comparisons": {}}) == ""


def test_the_claim_stands_first_and_what_a_run_lacks_is_left_out() -> None:
    assert sentences({}) == [claim({})]
