"""Numbers as sentences that say neither more nor less than the numbers."""

from typing import Any

from core.evaluation.metrics.score import PRIMARY
from core.evaluation.task_words import METRICS, claim, interval, number


def score(value: float | None, low: float | None = None, high: float | None = None, **more: Any) -> dict[str, Any]:
    found = {"value": value, "low": low, "high": high, "reason": "", "patients": 10, **more}
    return {"primary": "dice", "metrics": {"dice": found}}


def test_the_headline_has_its_interval_and_its_patients() -> None:
    first, *further = claim(score(0.834, 0.79, 0.871))
    assert first == "Dice 0.83 on 10 patients that the model has not seen (95% interval 0.79 to 0.87)."
    assert further[-1] == "The mean of all patients like these plausibly lies between 0.79 and 0.87."


def test_from_few_patients_nothing_is_concluded_about_others() -> None:
    few = score(0.83, 0.79, 0.87, patients=9)
    assert claim(few)[0].endswith("(95% interval 0.79 to 0.87).")
    assert not any("plausibly" in sentence for sentence in claim(few))
    found = {"value": 1.0, "low": 1.0, "high": 1.0, "reason": "", "patients": 3}
    told = claim({"primary": "balanced_accuracy", "metrics": {"balanced_accuracy": found}}, classes=2)
    assert told[-1] == "Guessing would give 0.50; that the model is better is not shown."


def test_a_value_without_an_interval_says_why() -> None:
    first, *further = claim(score(0.5, reason="one patient has no interval", patients=1))
    assert first == (
        "Dice 0.50 on one patient that the model has not seen; there is no interval: one patient has no interval."
    )
    assert not any("plausibly" in sentence for sentence in further)


def test_no_value_is_no_claim() -> None:
    assert claim(score(None, reason="no test image with a mask")) == ["There is no result: no test image with a mask."]
    assert claim({}) == ["There is no result: nothing could be measured."]


def test_classes_are_told_beside_what_guessing_gives() -> None:
    found = {"value": 0.7, "low": 0.6, "high": 0.8, "reason": "", "patients": 40}
    told = claim({"primary": "balanced_accuracy", "metrics": {"balanced_accuracy": found}}, classes=4)
    assert told[0].startswith("Balanced accuracy 0.70 on 40 patients")
    assert "Guessing would give 0.25." in told
    found["low"] = 0.25
    told = claim({"primary": "balanced_accuracy", "metrics": {"balanced_accuracy": found}}, classes=4)
    assert "Guessing would give 0.25; that the model is better is not shown." in told


def test_enhancement_tells_what_restoring_added() -> None:
    psnr = {"value": 30.0, "low": 29.0, "high": 31.0, "reason": "", "patients": 9}
    gain = {"value": 2.5, "low": 2.0, "high": 3.0, "reason": "", "patients": 9}
    told = claim({"primary": "psnr", "metrics": {"psnr": psnr, "psnr_gain": gain}})
    assert told[0].startswith("PSNR 30.0 dB on 9 patients")
    assert told[-1] == "Restoring added 2.5 dB (2.0 to 3.0 dB)."


def test_every_primary_metric_has_words_and_an_unknown_one_its_name() -> None:
    assert set(PRIMARY.values()) <= set(METRICS)
    assert number("new_metric", 0.5) == "0.50"
    assert number("hd95", float("nan")) == "–"
    assert interval("hd95", {"low": 1.0, "high": 2.25}) == "1.0 to 2.2 pixels"
