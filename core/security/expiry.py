"""Warnings before a certificate ends: 30, 7 and 1 days."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from core.security.certificates import day
from core.security.names import shown


@dataclass(frozen=True)
class Expiry:
    """A certificate that is about to expire, or has."""

    within: int
    """The threshold that is crossed: 30, 7 or 1 days; 0 when it has expired. Warn once for each."""
    text: str


THRESHOLDS = (1, 7, 30)
"""Days before the end at which somebody is told."""


def expiry_warning(certificate: x509.Certificate, now: datetime) -> Expiry | None:
    """What to tell about a certificate's end; None while it is more than 30 days away."""
    left = certificate.not_valid_after_utc - now
    what = f"the certificate of {shown(certificate.subject.rfc4514_string())}"
    if left < timedelta(0):
        return Expiry(0, f"{what} expired on {day(certificate.not_valid_after_utc)}; renew it now")
    within = next((days for days in THRESHOLDS if left <= timedelta(days=days)), None)
    if within is None:
        return None
    hours = int(left / timedelta(hours=1))
    span = f"{hours // 24} days" if hours >= 48 else f"{hours} hours"
    return Expiry(
        within,
        f"{what} expires in {span}, on {day(certificate.not_valid_after_utc)}; renew it: both are valid meanwhile",
    )
