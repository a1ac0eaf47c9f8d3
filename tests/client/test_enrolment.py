"""A certificate whose dates are wrong, and nonsense in its place; the ceremony is in tests/test_enrolment.py."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from client.enrolment import accept, write_request
from client.site_folder import SiteFolder, make_site
from core.errors import SecurityError
from core.security.authority import CERTIFICATE_FILE, Authority, issue_site, make_authority, save_certificate

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def certified(tmp_path: Path) -> tuple[SiteFolder, Authority]:
    """A hospital, its certificate as north.pem beside it, its authority's as authority.pem."""
    folder, authority = make_site("north", "heart", folder=tmp_path / "site", now=NOW), make_authority("heart", now=NOW)
    request, _ = write_request(folder, now=NOW)
    save_certificate(tmp_path / "north.pem", issue_site(authority, request, now=NOW))
    save_certificate(tmp_path / CERTIFICATE_FILE, authority.certificate)
    return folder, authority


@pytest.mark.parametrize(
    ("days", "sentence", "word"),
    [(-1, "is not valid before", "not_yet_valid"), (366, "expired on", "expired")],
)
def test_a_certificate_out_of_its_dates_is_refused(tmp_path: Path, days: int, sentence: str, word: str) -> None:
    folder, authority = certified(tmp_path)
    with pytest.raises(SecurityError, match=sentence):
        accept(folder, tmp_path / "north.pem", authority=tmp_path / CERTIFICATE_FILE,
               fingerprint=authority.fingerprint, now=NOW + timedelta(days=days))  # fmt: skip
    assert json.loads((folder.path / "audit.jsonl").read_text().splitlines()[-1])["fields"]["reason"] == word


def test_nonsense_is_refused_and_noted(tmp_path: Path) -> None:
    folder, authority = certified(tmp_path)
    (tmp_path / "north.pem").write_text("junk")
    with pytest.raises(SecurityError, match="holds not exactly one certificate"):
        accept(folder, tmp_path / "north.pem", authority=tmp_path / CERTIFICATE_FILE,
               fingerprint=authority.fingerprint, now=NOW)  # fmt: skip
    assert json.loads((folder.path / "audit.jsonl").read_text().splitlines()[-1])["event"] == "certificate_refused"
