"""What the list tells when certificates end; the ceremony itself is in tests/test_enrolment.py."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.security.enrolment import make_request
from core.security.keys import make_node_key, make_signing_key
from server.enrolment import approve, listing, take_request
from server.study_folder import StudyFolder, make_study

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def enrolled(tmp_path: Path) -> StudyFolder:
    study = make_study("heart", folder=tmp_path / "heart", names=["localhost"], now=NOW)
    request = make_request(
        study="heart", site="north", signing_key=make_signing_key(), node_key=make_node_key(), now=NOW
    )
    file = tmp_path / "request.json"
    file.write_bytes(request.document)
    approve(study, take_request(study, file).site, fingerprint=request.fingerprint, now=NOW)
    return study


def test_certificates_that_end_soon_are_told(tmp_path: Path) -> None:
    study = enrolled(tmp_path)
    # Site, TLS and consortium have 365 days each, the authority ten years: 20 days are left after 345.
    quiet = listing(study, now=NOW)
    soon = listing(study, now=NOW + timedelta(days=345))
    assert (quiet.sites["north"]["warnings"], quiet.warnings) == ([], ())
    (warning,) = soon.sites["north"]["warnings"]
    assert "expires in 20 days" in warning
    assert len(soon.warnings) == 2
    assert "  warning: " + warning in soon.lines()
    over = listing(study, now=NOW + timedelta(days=366))
    assert over.sites["north"]["state"] == "expired"
