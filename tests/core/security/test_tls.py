"""TLS 1.3 to the right server only; a wrong certificate is explained. The handshakes run in memory."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from core.errors import SecurityError
from core.security.authority import issue_consortium, issue_site, issue_tls, make_authority, save_certificate
from core.security.keys import make_node_key, make_signing_key, write_private
from core.security.tls import _matches, client_context, server_context, server_problems

KEY = make_node_key()


def tls(authority: Any, now: datetime, *names: str, days: int = 100) -> x509.Certificate:
    return issue_tls(authority, KEY.public_key(), names=names or ("fl.example.org", "127.0.0.1"), now=now, days=days)


def shake(server: ssl.SSLContext, client: ssl.SSLContext, *, host: str) -> str:
    """The TLS version on which both agree; raises ssl.SSLError."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname=host), server.wrap_bio(up, down, server_side=True)]
    waiting = list(ends)
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
        if not waiting:
            return str(ends[0].version())
    raise AssertionError("no end of the handshake")


def contexts(
    folder: Path, *, shows: x509.Certificate, trusts: x509.Certificate
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    if not (folder / "tls.key").exists():
        write_private(folder / "tls.key", KEY)
    save_certificate(folder / "tls.pem", shows)
    save_certificate(folder / "authority.pem", trusts)
    return server_context(certificate=folder / "tls.pem", key=folder / "tls.key"), client_context(
        folder / "authority.pem"
    )


@pytest.fixture
def today() -> datetime:
    """OpenSSL compares with the machine's clock."""
    return datetime.now(UTC)


def test_the_right_server_is_reached_by_name_and_by_address(tmp_path: Path, today: datetime) -> None:
    authority = make_authority("heart", now=today)
    server, client = contexts(tmp_path, shows=tls(authority, today), trusts=authority.certificate)
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    for host in ("fl.example.org", "127.0.0.1"):
        assert shake(server, client, host=host) == "TLSv1.3"


def test_another_authority_or_another_name_ends_the_handshake(tmp_path: Path, today: datetime) -> None:
    authority, other = make_authority("heart", now=today), make_authority("heart", now=today)
    server, client = contexts(tmp_path, shows=tls(authority, today), trusts=authority.certificate)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(server, client, host="evil.example.org")
    server, client = contexts(tmp_path, shows=tls(other, today), trusts=authority.certificate)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server, client, host="fl.example.org")


def test_an_expired_certificate_and_a_sites_end_the_handshake(tmp_path: Path, today: datetime) -> None:
    old = today - timedelta(days=50)
    authority = make_authority("heart", now=old)
    server, client = contexts(tmp_path, shows=tls(authority, old, days=49), trusts=authority.certificate)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake(server, client, host="fl.example.org")


def test_tls_1_2_is_refused_by_both_sides(tmp_path: Path, today: datetime) -> None:
    authority = make_authority("heart", now=today)
    for old in (0, 1):
        pair = contexts(tmp_path, shows=tls(authority, today), trusts=authority.certificate)
        pair[old].minimum_version = ssl.TLSVersion.TLSv1_2
        pair[old].maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError, match=r"UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION"):
            shake(*pair, host="fl.example.org")


def test_a_server_needs_its_own_private_key(tmp_path: Path, authority: Any, now: datetime) -> None:
    save_certificate(tmp_path / "tls.pem", tls(authority, now))
    write_private(tmp_path / "other.key", make_node_key())
    with pytest.raises(SecurityError, match="not a certificate and its key"):
        server_context(certificate=tmp_path / "tls.pem", key=tmp_path / "other.key")
    (tmp_path / "other.key").chmod(0o644)
    with pytest.raises(SecurityError, match="others may read or change it"):
        server_context(certificate=tmp_path / "tls.pem", key=tmp_path / "other.key")


def test_a_client_needs_an_authority(tmp_path: Path) -> None:
    (tmp_path / "junk.pem").write_text("junk")
    for name in ("none.pem", "junk.pem"):
        with pytest.raises(SecurityError, match=r"no certificates .*copy the study's authority there"):
            client_context(tmp_path / name)


def test_a_good_certificate_has_no_problem(authority: Any, stranger: Any, now: datetime) -> None:
    both = [stranger.certificate, authority.certificate]
    for host in ("fl.example.org", "127.0.0.1"):
        assert server_problems([tls(authority, now)], authorities=both, host=host, now=now) == []


def test_a_stranger_between_is_named_as_such(authority: Any, stranger: Any, now: datetime) -> None:
    (problem,) = server_problems(
        [tls(stranger, now)], authorities=[authority.certificate], host="fl.example.org", now=now
    )
    assert "something between opens the connection (a proxy or antivirus inspects TLS" in problem
    assert "heart authority" in problem


def test_a_strangers_expired_certificate_has_both_problems(authority: Any, stranger: Any, now: datetime) -> None:
    found = server_problems(
        [tls(stranger, now)], authorities=[authority.certificate], host="fl.example.org", now=now + timedelta(days=200)
    )
    assert ["expired" in found[0], "something between" in found[1]] == [True, True]


@pytest.mark.parametrize(("after", "word"), [(200, "expired on"), (-2, "is not valid before")])
def test_dates_are_named(authority: Any, now: datetime, after: int, word: str) -> None:
    old = make_authority("heart", now=now - timedelta(days=10))
    found = server_problems(
        [tls(old, now)], authorities=[old.certificate], host="127.0.0.1", now=now + timedelta(days=after)
    )
    assert len(found) == 1
    assert word in found[0]


def test_another_host_and_another_purpose_are_named(authority: Any, north: Any, now: datetime) -> None:
    (problem,) = server_problems([tls(authority, now)], authorities=[authority.certificate], host="a.org", now=now)
    assert "is for '127.0.0.1', 'fl.example.org'; connect to one of these names, or have a.org added" in problem
    for certificate in (
        issue_site(authority, north.request(), now=now),
        issue_consortium(authority, make_signing_key().public_key(), study="heart", now=now),
    ):
        found = server_problems([certificate], authorities=[authority.certificate], host="north", now=now)
        assert ["is for no name" in found[0], "is not for TLS servers" in found[1]] == [True, True]


def test_a_star_stands_for_one_label() -> None:
    assert _matches("*.example.org", "FL.example.org")
    assert _matches("Fl.Example.org", "fl.example.org.")
    assert not _matches("*.example.org", "a.b.example.org")
    assert not _matches("*.example.org", "example.org")
    assert not _matches("*", "org")


def test_no_certificate_at_all_is_no_tls(now: datetime) -> None:
    assert server_problems([], authorities=[], host="a.org", now=now) == [
        "a.org showed no certificate; it does not speak TLS there: check address and port"
    ]


def test_without_an_authority_nobody_is_trusted(authority: Any, now: datetime) -> None:
    (problem,) = server_problems([tls(authority, now)], authorities=[], host="127.0.0.1", now=now)
    assert "not by the study's authority" in problem
