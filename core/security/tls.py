"""TLS 1.3 on both ends, and why a server's certificate is not the one that was expected.

`ssl` refuses a bad certificate with a word or two; `server_problems` says what is wrong with the one that was shown,
for `doctor` and for the message after a failed connection.
"""

import ipaddress
import ssl
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from core.errors import SecurityError
from core.security.certificates import date_problems, purposes_of
from core.security.keys import read_private
from core.security.names import shown


def server_context(*, certificate: Path, key: Path) -> ssl.SSLContext:
    """The listening side: TLS 1.3 only; raises SecurityError when key and certificate cannot be used."""
    read_private(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        # An empty password: OpenSSL would ask the terminal for one.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise SecurityError(
            f"{certificate} and {key}: not a certificate and its key ({error}); make them anew"
        ) from error
    return context


def client_context(authority: Path) -> ssl.SSLContext:
    """The connecting side: TLS 1.3 only, the hostname checked, one authority trusted and none of the system's.

    Raises:
        SecurityError: The file holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(authority)
    except (OSError, ValueError) as error:
        raise SecurityError(f"{authority}: no certificates ({error}); copy the study's authority there") from error
    return context


def server_problems(
    shown_chain: Sequence[x509.Certificate], *, authorities: Sequence[x509.Certificate], host: str, now: datetime
) -> list[str]:
    """Why the certificate that a TLS server showed is not trusted; empty when it is.

    Args:
        shown_chain: What the server showed, its own certificate first.
        authorities: The study's authority, or a given one above intermediates.
        host: The DNS name or IP address that was connected to.
        now: The present, UTC.
    """
    if not shown_chain:
        return [f"{host} showed no certificate; it does not speak TLS there: check address and port"]
    leaf = shown_chain[0]
    what = f"the certificate that {host} shows"
    wrong = [*_name_problems(leaf, host, what), *_purpose_problems(leaf, what)]
    found = [*wrong, *date_problems(leaf, now=now, what=what)]
    # At a moment when it was valid, so that a stranger's expired certificate is called a stranger's too.
    moment = min(max(now, leaf.not_valid_before_utc), leaf.not_valid_after_utc)
    if not wrong and not _trusted(leaf, shown_chain[1:], authorities, host=host, moment=moment):
        found.append(
            f"{what} was issued by {shown(leaf.issuer.rfc4514_string())}, not by the study's authority; something "
            "between opens the connection (a proxy or antivirus inspects TLS: ask for an exception for this host), "
            "or the consortium has a new authority: compare its fingerprint by telephone"
        )
    return found


def _name_problems(leaf: x509.Certificate, host: str, what: str) -> Iterator[str]:
    names = _names(leaf)
    if not any(_matches(pattern, host) for pattern in names):
        listed = ", ".join(sorted(map(shown, names))) or "no name"
        yield f"{what} is for {listed}; connect to one of these names, or have {host} added by the consortium"


def _purpose_problems(leaf: x509.Certificate, what: str) -> Iterator[str]:
    if ExtendedKeyUsageOID.SERVER_AUTH not in purposes_of(leaf):
        yield f"{what} is not for TLS servers; the consortium must show the one that `usfm-server init` made for TLS"


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return []
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def _matches(pattern: str, host: str) -> bool:
    """RFC 6125: names are equal, or the leftmost label alone is a star."""
    pattern, host = pattern.lower(), host.lower().rstrip(".")
    return pattern == host or (pattern.startswith("*.") and "." in host and pattern[2:] == host.split(".", 1)[1])


def _trusted(
    leaf: x509.Certificate,
    between: Sequence[x509.Certificate],
    authorities: Sequence[x509.Certificate],
    *,
    host: str,
    moment: datetime,
) -> bool:
    """Whether a path leads from the leaf to an authority, as `cryptography` validates it (RFC 5280)."""
    if not authorities:
        return False
    subject: verification.Subject
    try:
        subject = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    builder = verification.PolicyBuilder().store(verification.Store(list(authorities))).time(moment)
    try:
        builder.build_server_verifier(subject).verify(leaf, list(between))
    except (verification.VerificationError, ValueError):
        return False
    return True
