"""A study's own certificate authority: it certifies the TLS server, the consortium's signing key and each site.

One key (P-384) signs everything directly. It is needed when somebody is enrolled or renewed, not while a study runs, so
it may lie on a stick in a safe. Two authorities can be trusted at once, which is how one is replaced.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core.atomic import write_atomically
from core.errors import SecurityError
from core.security.certificates import (
    CONSORTIUM_PURPOSE,
    NODE_KEY,
    SITE_PURPOSE,
    authority_fingerprint,
    certificate_pem,
    date_problems,
    read_certificate,
)
from core.security.enrolment import Request
from core.security.keys import PublicKey, load_tls_key, make_node_key, public_der, write_private
from core.security.names import check_name, shown

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365
SKEW = timedelta(minutes=10)
"""A new certificate is valid this long before it is made, since hospitals' clocks differ."""
CERTIFICATE_FILE, KEY_FILE = "authority.pem", "authority.key"


@dataclass(frozen=True)
class Authority:
    """An authority with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def fingerprint(self) -> str:
        """Of the authority's public key, grouped for reading aloud: what a hospital compares before it trusts."""
        return authority_fingerprint(self.certificate)

    def save(self, folder: Path) -> None:
        """Write key (0600) and certificate; raises SecurityError when there is an authority already."""
        write_private(folder / KEY_FILE, self.key)
        save_certificate(folder / CERTIFICATE_FILE, self.certificate)


def make_authority(study: str, *, now: datetime, days: int = AUTHORITY_DAYS) -> Authority:
    """A new authority for one study, valid `days` from `now` (UTC)."""
    name = _subject(check_name(study, what="study"), f"{study} authority"[:64])
    key = make_node_key()
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(key.public_key(), subject=name, issuer=name, begins=now - SKEW, ends=now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA384())
    )
    return Authority(certificate, key)


def load_authority(folder: Path) -> Authority:
    """The authority that `Authority.save` wrote; raises SecurityError when the two do not fit."""
    certificate, key = read_certificate(folder / CERTIFICATE_FILE), load_tls_key(folder / KEY_FILE)
    found = certificate.public_key()
    if not isinstance(found, ec.EllipticCurvePublicKey) or public_der(found) != public_der(key.public_key()):
        raise SecurityError(f"{folder}: {CERTIFICATE_FILE} and {KEY_FILE} do not belong together; restore both")
    return Authority(certificate, key)


def save_certificate(path: Path, certificate: x509.Certificate) -> None:
    """Write a certificate as PEM, atomically, in place of an older one; raises SecurityError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, certificate_pem(certificate))
    except OSError as error:
        raise SecurityError(f"{path}: cannot be written ({error.strerror}); free space or fix the folder") from error


def issue_tls(
    authority: Authority,
    key: ec.EllipticCurvePublicKey,
    *,
    names: Sequence[str],
    now: datetime,
    days: int = CERTIFICATE_DAYS,
) -> x509.Certificate:
    """A certificate for the TLS server.

    Args:
        authority: Who issues.
        key: The server's public key.
        names: DNS names and IP addresses by which hospitals reach it; all become alternative names.
        now: The present, UTC.
        days: Of validity, at most what the authority has left.

    Raises:
        SecurityError: No name, one that is malformed, or the authority is not valid now.
    """
    if not names:
        raise SecurityError("a TLS certificate needs the names by which hospitals reach the server; give at least one")
    server = x509.SubjectAlternativeName([_alternative(name) for name in names])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    return _issue(authority, key, subject, [(server, False)], ExtendedKeyUsageOID.SERVER_AUTH, now=now, days=days)


def issue_consortium(
    authority: Authority, key: ed25519.Ed25519PublicKey, *, study: str, now: datetime, days: int = CERTIFICATE_DAYS
) -> x509.Certificate:
    """A certificate for the key that signs instructions and receipts."""
    subject = _subject(check_name(study, what="study"), study)
    return _issue(authority, key, subject, [], CONSORTIUM_PURPOSE, now=now, days=days)


def issue_site(
    authority: Authority, request: Request, *, now: datetime, days: int = CERTIFICATE_DAYS
) -> x509.Certificate:
    """A certificate for the site of a request whose fingerprint a person has compared.

    The signing key is the certificate's own; the node key stands in an extension, so that neither can be exchanged. A
    second certificate of the same site is how keys rotate: both are valid until one ends or is revoked.
    """
    node = x509.UnrecognizedExtension(NODE_KEY, public_der(request.node_key))
    subject = _subject(request.study, request.site)
    return _issue(authority, request.signing_key, subject, [(node, False)], SITE_PURPOSE, now=now, days=days)


def _issue(
    authority: Authority,
    key: PublicKey,
    subject: x509.Name,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    purpose: x509.ObjectIdentifier,
    *,
    now: datetime,
    days: int,
) -> x509.Certificate:
    if found := list(date_problems(authority.certificate, now=now, what="the authority's certificate")):
        raise SecurityError(found)
    if days < 1:
        raise SecurityError(f"a certificate of {days} days would never be valid; give at least 1")
    ends = min(now + timedelta(days=days), authority.certificate.not_valid_after_utc)
    begins = max(now - SKEW, authority.certificate.not_valid_before_utc)
    builder = _builder(key, subject=subject, issuer=authority.certificate.subject, begins=begins, ends=ends)
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(issuer_key, critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(authority.key, hashes.SHA384())


def _builder(
    key: PublicKey, *, subject: x509.Name, issuer: x509.Name, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _subject(study: str, name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, study), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def _alternative(name: str) -> x509.GeneralName:
    """An IP address or a DNS name; raises SecurityError."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    labels = name.split(".")
    legal = all(0 < len(part) <= 63 and part.replace("-", "a").isalnum() and part.isascii() for part in labels)
    if len(name) > 253 or not legal or labels[-1].isdigit():
        raise SecurityError(f"{shown(name)} is neither a DNS name nor an IP address; give one without port or scheme")
    return x509.DNSName(name)
