"""Each way in which a certificate is wrong has its sentence with the remedy, and all are listed."""

import base64
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from core.errors import SecurityError
from core.security.authority import Authority, issue_consortium, issue_site, issue_tls, make_authority
from core.security.certificates import (
    authority_fingerprint,
    certificate_pem,
    newest,
    parse_certificate,
    read_certificate,
    site_named_by,
    verify_consortium,
    verify_site,
)
from core.security.keys import fingerprint, make_node_key, make_signing_key


def problems(certificate: x509.Certificate, *, trusted: Any, now: datetime | None, **changes: Any) -> list[str]:
    """What `verify_site` says of a certificate that should be northern and of the study heart."""
    wanted = {"study": "heart", "site": "north"} | changes
    with pytest.raises(SecurityError) as caught:
        verify_site(certificate, authorities=[one.certificate for one in trusted], now=now, **wanted)
    return list(caught.value.problems)


def test_another_authority_is_named_even_under_the_same_name(
    authority: Any, stranger: Any, north: Any, now: datetime
) -> None:
    (problem,) = problems(issue_site(stranger, north.request(), now=now), trusted=[authority], now=now)
    assert "the certificate of site north was not issued by an authority that is trusted here" in problem
    assert authority.fingerprint in problem
    assert stranger.fingerprint not in problem
    assert "by telephone" in problem


def test_with_no_authority_nothing_is_trusted(authority: Any, north: Any, now: datetime) -> None:
    (problem,) = problems(issue_site(authority, north.request(), now=now), trusted=[], now=now)
    assert "(trusted: none)" in problem


def test_a_second_authority_may_be_trusted_while_one_is_replaced(
    authority: Any, stranger: Any, north: Any, now: datetime
) -> None:
    both = [authority.certificate, stranger.certificate]
    for issuer in (authority, stranger):
        certificate = issue_site(issuer, north.request(), now=now)
        assert verify_site(certificate, authorities=both, study="heart", site="north", now=now).name == "north"


def test_a_site_cannot_issue_with_its_own_certificate(authority: Any, south: Any, fresh: Any, now: datetime) -> None:
    real = issue_tls(authority, (key := make_node_key()).public_key(), names=["a.org"], now=now)
    forged = issue_site(Authority(real, key), fresh.request(), now=now)
    assert "was not issued by an authority that is trusted" in problems(forged, trusted=[authority], now=now)[0]
    # Not even where the certificate itself was put among the authorities: it may not sign certificates.
    with pytest.raises(SecurityError, match="was not issued by"):
        verify_site(forged, authorities=[real], study="heart", site="north", now=None)


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        (timedelta(days=366), r"expired on 2027-11-25 12:00 UTC (it is 2027-11-26 12:00 UTC here); renew it"),
        (
            timedelta(hours=-1),
            r"is not valid before 2026-11-25 11:50 UTC (it is 2026-11-25 11:00 UTC here); set a wrong",
        ),
    ],
)
def test_dates_are_checked_and_an_archive_is_not(
    authority: Any, north: Any, now: datetime, after: timedelta, sentence: str
) -> None:
    old = make_authority("heart", now=now - timedelta(days=10))
    certificate = issue_site(old, north.request(), now=now)
    (problem,) = problems(certificate, trusted=[old], now=now + after)
    assert f"the certificate of site north {sentence}" in problem
    assert (
        verify_site(certificate, authorities=[old.certificate], study="heart", site="north", now=None).name == "north"
    )


def test_the_edges_of_validity_are_inside(authority: Any, north: Any, now: datetime) -> None:
    certificate = issue_site(authority, north.request(), now=now)
    for moment in (certificate.not_valid_before_utc, certificate.not_valid_after_utc):
        verify_site(certificate, authorities=[authority.certificate], study="heart", site="north", now=moment)


def test_an_expired_authority_is_named_apart(north: Any, now: datetime) -> None:
    short = make_authority("heart", now=now, days=1)
    found = problems(issue_site(short, north.request(), now=now), trusted=[short], now=now + timedelta(days=2))
    assert [problem.split(" expired")[0] for problem in found] == [
        "the authority's certificate",
        "the certificate of site north",
    ]


def test_another_sites_certificate_is_refused(authority: Any, south: Any, now: datetime) -> None:
    (problem,) = problems(issue_site(authority, south.request(), now=now), trusted=[authority], now=now)
    assert "is for the name 'south', not north" in problem


def test_another_studys_certificate_is_refused(authority: Any, north: Any, now: datetime) -> None:
    (problem,) = problems(issue_site(authority, north.request("lung"), now=now), trusted=[authority], now=now)
    assert "is for the study 'lung', not heart" in problem


def test_a_key_that_is_not_the_certified_one_is_refused(authority: Any, north: Any, south: Any, now: datetime) -> None:
    certificate = issue_site(authority, north.request(), now=now)
    keys = {"node_key": south.node.public_key(), "signing_key": south.signing.public_key()}
    found = problems(certificate, trusted=[authority], now=now, **keys)
    assert ["certifies another node key" in found[0], "certifies another signing key" in found[1]] == [True, True]
    own = {"node_key": north.node.public_key(), "signing_key": north.signing.public_key()}
    verify_site(certificate, authorities=[authority.certificate], study="heart", site="north", now=now, **own)


def test_certificates_for_other_purposes_are_no_sites(authority: Any, now: datetime) -> None:
    key = make_signing_key().public_key()
    consortium = issue_consortium(authority, key, study="heart", now=now)
    found = problems(consortium, trusted=[authority], now=now)
    assert "is good for the consortium, not for a site" in found[0]
    assert "is for the name 'heart', not north" in found[1]
    assert "binds no node key" in found[2]
    tls = issue_tls(authority, make_node_key().public_key(), names=["north"], now=now)
    assert "is good for 1.3.6.1.5.5.7.3.1, not for a site" in problems(tls, trusted=[authority], now=now)[0]
    with pytest.raises(SecurityError, match=r"not for the consortium[\s\S]*certifies no Ed25519 key"):
        verify_consortium(tls, authorities=[authority.certificate], study="heart", now=now)


def test_every_reason_is_listed_at_once(authority: Any, stranger: Any, south: Any, now: datetime) -> None:
    certificate = issue_site(stranger, south.request("lung"), now=now)
    found = problems(certificate, trusted=[authority], now=now + timedelta(days=500))
    assert [word in problem for word, problem in zip(("issued", "expired", "study", "name"), found, strict=True)] == [
        True
    ] * 4


def test_an_altered_certificate_is_nobodys(authority: Any, north: Any, south: Any, now: datetime) -> None:
    pem = certificate_pem(issue_site(authority, north.request(), now=now))
    der = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
    body = base64.encodebytes(der.replace(b"north", b"south"))
    forged = parse_certificate(b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n", what="it")
    assert site_named_by(forged) == "south"
    found = problems(forged, trusted=[authority], now=now, site="south")
    assert "was not issued by an authority that is trusted here" in found[0]


@pytest.mark.parametrize("content", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(SecurityError, match="c: holds not exactly one certificate in PEM"):
        read_certificate(tmp_path / "c")


def test_two_certificates_in_a_file_and_a_huge_file_are_refused(authority: Any) -> None:
    pem = certificate_pem(authority.certificate)
    for content in (pem + pem, pem + b" " * 70_000):
        with pytest.raises(SecurityError, match="not exactly one certificate"):
            parse_certificate(content, what="it")
    assert parse_certificate(b"a comment\n" + pem, what="it") == authority.certificate


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match="none: cannot be read"):
        read_certificate(tmp_path / "none")


def test_a_certificate_that_names_a_path_names_no_site(now: datetime) -> None:
    key = make_node_key()
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "../../etc")])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA384())
    )  # fmt: skip
    with pytest.raises(SecurityError, match="names no site"):
        site_named_by(certificate)


def test_an_authoritys_fingerprint_is_that_of_its_key(authority: Any, north: Any, now: datetime) -> None:
    assert authority_fingerprint(authority.certificate) == fingerprint(authority.key.public_key())
    with pytest.raises(SecurityError, match="is not on an elliptic curve"):
        authority_fingerprint(issue_site(authority, north.request(), now=now))


def test_the_newest_of_two_is_the_one_that_ends_last(authority: Any, north: Any, now: datetime) -> None:
    found = [
        verify_site(
            issue_site(authority, north.request(), now=now, days=days),
            authorities=[authority.certificate], study="heart", site="north", now=now,
        )
        for days in (30, 90, 60)
    ]  # fmt: skip
    assert newest(found) is found[1]
    assert newest([]) is None
