"""Numbers as people read them."""

import pytest

from core.evaluation import formats


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formats.loss(0.12345), "0.123"),
        (formats.loss(0.0), "0.000"),
        (formats.loss(0.00123456), "0.00123"),
        (formats.share(0.666), "0.67"),
        (formats.percent(0.825), "82%"),
        (formats.percent(-0.4), "-40%"),
        (formats.count(160000), "160,000"),
        (formats.seconds(31.25), "31.2 s"),
        (formats.seconds(209), "3.5 min"),
        (formats.seconds(9000), "2.5 h"),
        (formats.size(999), "999 B"),
        (formats.size(999_900), "1 MB"),
        (formats.size(57_000_000), "57 MB"),
        (formats.size(3e15), "3e+03 TB"),
        (formats.words("fetal_head"), "fetal head"),
        (formats.bounds({"low": 0.5, "high": 0.75}), "0.50 to 0.75"),
        (formats.bounds({"low": None, "high": None}), ""),
        (formats.bounds(None), ""),
    ],
)
def test_a_number_is_shown_with_the_digits_that_count(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "text"])
def test_what_is_no_number_is_a_dash(value: object) -> None:
    shown = [
        show(value)
        for show in (formats.loss, formats.share, formats.percent, formats.count, formats.seconds, formats.size)
    ]
    assert shown == ["–"] * 6
