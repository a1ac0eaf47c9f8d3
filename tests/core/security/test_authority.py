"""An authority issues for the server, the consortium and a site; each certificate is good for its own purpose only."""

import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from core.errors import SecurityError
from core.security.authority import (
    CERTIFICATE_DAYS,
    SKEW,
    issue_consortium,
    issue_site,
    issue_tls,
    load_authority,
    make_authority,
)
from core.security.certificates import certificate_digest, verify_consortium, verify_site
from core.security.keys import heard, key_digest, make_node_key, make_signing_key, write_private


def test_an_authority_comes_back_from_its_folder(authority: Any, tmp_path: Path) -> None:
    authority.save(tmp_path)
    found = load_authority(tmp_path)
    assert found.certificate == authority.certificate
    assert found.fingerprint == authority.fingerprint
    assert heard(found.fingerprint) == key_digest(authority.key.public_key())
    assert (tmp_path / "authority.key").stat().st_mode & 0o777 == 0o600


def test_an_authority_is_never_overwritten(authority: Any, stranger: Any, tmp_path: Path) -> None:
    authority.save(tmp_path)
    with pytest.raises(SecurityError, match="keys are never overwritten"):
        stranger.save(tmp_path)
    assert load_authority(tmp_path).certificate == authority.certificate


def test_the_key_of_another_authority_is_refused(authority: Any, stranger: Any, tmp_path: Path) -> None:
    authority.save(tmp_path)
    (tmp_path / "authority.key").unlink()
    write_private(tmp_path / "authority.key", stranger.key)
    with pytest.raises(SecurityError, match="do not belong together; restore both"):
        load_authority(tmp_path)


def test_a_sites_certificate_binds_name_study_and_both_keys(authority: Any, north: Any, now: datetime) -> None:
    certificate = issue_site(authority, north.request(), now=now)
    found = verify_site(certificate, authorities=[authority.certificate], study="heart", site="north", now=now)
    assert (found.study, found.name) == ("heart", "north")
    assert key_digest(found.signing_key) == key_digest(north.signing.public_key())
    assert found.node_key is not None
    assert key_digest(found.node_key) == key_digest(north.node.public_key())
    assert (found.begins, found.ends) == (now - SKEW, now + timedelta(days=CERTIFICATE_DAYS))


def test_the_consortiums_certificate_is_its_own_kind(authority: Any, north: Any, now: datetime) -> None:
    key = make_signing_key()
    certificate = issue_consortium(authority, key.public_key(), study="heart", now=now)
    found = verify_consortium(certificate, authorities=[authority.certificate], study="heart", now=now)
    assert key_digest(found.signing_key) == key_digest(key.public_key())
    assert found.node_key is None
    with pytest.raises(SecurityError, match="is good for a site, not for the consortium"):
        verify_consortium(
            issue_site(authority, north.request(), now=now), authorities=[authority.certificate], study="heart", now=now
        )


def test_two_certificates_have_different_serials_so_that_one_can_be_revoked(
    authority: Any, north: Any, now: datetime
) -> None:
    first, second = (issue_site(authority, north.request(), now=now) for _ in range(2))
    assert first.serial_number != second.serial_number
    assert certificate_digest(first) != certificate_digest(second)


def test_no_certificate_outlives_its_authority(north: Any, now: datetime) -> None:
    short = make_authority("heart", now=now, days=10)
    assert issue_site(short, north.request(), now=now, days=99).not_valid_after_utc == now + timedelta(days=10)


@pytest.mark.parametrize(("days", "problem"), [(11, "expired on 2026-12-05"), (-1, "is not valid before 2026-11-25")])
def test_an_authority_outside_its_dates_issues_nothing(north: Any, now: datetime, days: int, problem: str) -> None:
    short = make_authority("heart", now=now, days=10)
    with pytest.raises(SecurityError, match=f"the authority's certificate {problem}"):
        issue_site(short, north.request(), now=now + timedelta(days=days))


def test_a_certificate_needs_at_least_a_day(authority: Any, north: Any, now: datetime) -> None:
    with pytest.raises(SecurityError, match="of 0 days would never be valid"):
        issue_site(authority, north.request(), now=now, days=0)


def test_a_tls_certificate_has_the_names_and_addresses(authority: Any, now: datetime) -> None:
    names = ["fl.example.org", "127.0.0.1", "::1"]
    certificate = issue_tls(authority, make_node_key().public_key(), names=names, now=now)
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["fl.example.org"]
    assert [str(one) for one in found.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


@pytest.mark.parametrize(
    "name",
    ["", "https://a.b", "a.b:443", "a b", "a..b", ".a", "*", "x" * 64, ".".join(["abc"] * 70), "256.1.1.1", "é.org",
     "a/../b", "a\n"],
)  # fmt: skip
def test_a_name_that_is_no_host_is_refused(authority: Any, now: datetime, name: str) -> None:
    with pytest.raises(SecurityError, match="is neither a DNS name nor an IP address"):
        issue_tls(authority, make_node_key().public_key(), names=["a.org", name], now=now)


def test_a_tls_certificate_without_a_name_is_refused(authority: Any, now: datetime) -> None:
    with pytest.raises(SecurityError, match="give at least one"):
        issue_tls(authority, make_node_key().public_key(), names=[], now=now)


def test_a_study_that_would_be_a_path_gets_no_authority(now: datetime) -> None:
    with pytest.raises(SecurityError, match=r"study: '\.\./x' is no name"):
        make_authority("../x", now=now)


def test_the_authority_is_one_that_openssl_takes_strictly(authority: Any, tmp_path: Path) -> None:
    authority.save(tmp_path)
    context = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    assert [dict(pair for (pair,) in one["subject"]) for one in context.get_ca_certs()] == [
        {"organizationName": "heart", "commonName": "heart authority"}
    ]
