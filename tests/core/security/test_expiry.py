"""A certificate's end is announced 30, 7 and 1 days before."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from core.security.authority import issue_site
from core.security.expiry import expiry_warning

HOUR = timedelta(hours=1)
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("left", "within", "words"),
    [
        (30 * DAY, 30, "expires in 30 days"),
        (7 * DAY + HOUR, 30, "expires in 7 days"),
        (7 * DAY, 7, "expires in 7 days"),
        (DAY + HOUR, 7, "expires in 25 hours"),
        (DAY, 1, "expires in 24 hours"),
        (timedelta(0), 1, "expires in 0 hours"),
        (-HOUR, 0, "expired on 2027-11-25 12:00 UTC; renew it now"),
    ],
)
def test_the_nearest_threshold_is_told(
    authority: Any, north: Any, now: datetime, left: timedelta, within: int, words: str
) -> None:
    certificate = issue_site(authority, north.request(), now=now)
    warning = expiry_warning(certificate, certificate.not_valid_after_utc - left)
    assert warning is not None
    assert warning.within == within
    assert words in warning.text
    assert "north" in warning.text


def test_earlier_than_30_days_nothing_is_said(authority: Any, north: Any, now: datetime) -> None:
    certificate = issue_site(authority, north.request(), now=now)
    assert expiry_warning(certificate, certificate.not_valid_after_utc - 30 * DAY - HOUR) is None
