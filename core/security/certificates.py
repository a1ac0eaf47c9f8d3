"""What a certificate must be, and every reason why one is not: a sentence for each, with the remedy.

A study has one authority (P-384) that issues directly, without intermediates, so a chain is one link long. Purposes are
told apart by extended key usages of our own: a site's certificate cannot sign receipts, the consortium's cannot send
updates, and neither opens a TLS port.

X.509 as in RFC 5280; our object identifiers are UUIDs under 2.25 (ITU-T X.667), which need no registration.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from core.errors import SecurityError
from core.security.keys import fingerprint, key_digest, public_der
from core.security.names import is_name, shown

SITE_PURPOSE = x509.ObjectIdentifier("2.25.310529190835349353876727315812645061811")
"""Extended key usage: signs a site's updates."""
CONSORTIUM_PURPOSE = x509.ObjectIdentifier("2.25.117423846310276409231946573861924630017")
"""Extended key usage: signs the consortium's instructions and receipts."""
NODE_KEY = x509.ObjectIdentifier("2.25.208841937566120918427330561197460235921")
"""Extension: the P-384 key, as DER, with which the site's node authenticates."""
PURPOSES = {SITE_PURPOSE: "a site", CONSORTIUM_PURPOSE: "the consortium"}
LONGEST = 64 * 1024
"""Bytes of a certificate's file."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a verified certificate speaks for."""

    study: str
    name: str
    """The site; for the consortium, the study's name again."""
    signing_key: ed25519.Ed25519PublicKey
    node_key: ec.EllipticCurvePublicKey | None
    """The site's P-384 key; the consortium has none."""
    serial: str
    """Hexadecimal, unique within the authority."""
    begins: datetime
    ends: datetime


def read_certificate(path: Path) -> x509.Certificate:
    """One certificate from a PEM file; raises SecurityError."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise SecurityError(f"{path}: cannot be read ({error.strerror}); copy the certificate there") from error
    return parse_certificate(content, what=str(path))


def parse_certificate(pem: bytes, *, what: str) -> x509.Certificate:
    """One certificate from PEM; raises SecurityError naming `what`."""
    try:
        if len(pem) > LONGEST or pem.count(b"-----BEGIN") != 1:
            raise ValueError("one block is wanted")
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise SecurityError(f"{what}: holds not exactly one certificate in PEM; ask for the file again") from error


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def certificate_digest(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate's DER, hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def serial_of(certificate: x509.Certificate) -> str:
    """The serial number in hexadecimal."""
    return f"{certificate.serial_number:x}"


def verify_site(
    certificate: x509.Certificate,
    *,
    authorities: Sequence[x509.Certificate],
    study: str,
    site: str,
    now: datetime | None,
    node_key: ec.EllipticCurvePublicKey | None = None,
    signing_key: ed25519.Ed25519PublicKey | None = None,
) -> Identity:
    """Whom a site's certificate speaks for.

    Args:
        certificate: From somewhere hostile.
        authorities: Those this machine trusts: two while an authority is being replaced.
        study: The study it must be for.
        site: The site it must be of.
        now: The present in UTC; None for an archive, whose certificates were checked when they were used.
        node_key: If given, the key that the peer really uses, or that lies in this folder.
        signing_key: As `node_key`.

    Raises:
        SecurityError: With every reason.
    """
    what = f"the certificate of site {site}"
    found = list(chain_problems(certificate, authorities=authorities, now=now, what=what))
    found += _purpose_problems(certificate, SITE_PURPOSE, what)
    found += _subject_problems(certificate, study=study, name=site, what=what)
    bound = _node_key(certificate)
    if bound is None:
        found.append(f"{what} binds no node key; ask for a new one with `usfm-client enroll`")
    elif node_key is not None and public_der(bound) != public_der(node_key):
        found.append(_other_key(what, "node", bound, node_key))
    if not isinstance(key := certificate.public_key(), ed25519.Ed25519PublicKey):
        found.append(f"{what} certifies no Ed25519 key; ask for a new one with `usfm-client enroll`")
    elif signing_key is not None and public_der(key) != public_der(signing_key):
        found.append(_other_key(what, "signing", key, signing_key))
    if found:
        raise SecurityError(found)
    return _identity(certificate, study=study, name=site, node_key=bound)


def verify_consortium(
    certificate: x509.Certificate, *, authorities: Sequence[x509.Certificate], study: str, now: datetime | None
) -> Identity:
    """Whom the consortium's certificate speaks for; arguments and errors as of `verify_site`."""
    what = "the consortium's certificate"
    found = list(chain_problems(certificate, authorities=authorities, now=now, what=what))
    found += _purpose_problems(certificate, CONSORTIUM_PURPOSE, what)
    found += _subject_problems(certificate, study=study, name=study, what=what)
    if not isinstance(certificate.public_key(), ed25519.Ed25519PublicKey):
        found.append(f"{what} certifies no Ed25519 key; make a new one with `usfm-server init`")
    if found:
        raise SecurityError(found)
    return _identity(certificate, study=study, name=study, node_key=None)


def site_named_by(certificate: x509.Certificate) -> str:
    """The site that a certificate claims; raises SecurityError when that is no name. Nothing is verified."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1 or not is_name(names[0].value):
        raise SecurityError(f"a certificate for {shown(certificate.subject.rfc4514_string())} names no site")
    return str(names[0].value)


def chain_problems(
    certificate: x509.Certificate, *, authorities: Sequence[x509.Certificate], now: datetime | None, what: str
) -> Iterator[str]:
    """Why a certificate is not one of these authorities' now; one sentence each."""
    issuer = next((one for one in authorities if _issued(one, certificate)), None)
    if issuer is None:
        trusted = "; ".join(authority_fingerprint(one) for one in authorities) or "none"
        yield (
            f"{what} was not issued by an authority that is trusted here (trusted: {trusted}), but in the name of "
            f"{shown(certificate.issuer.rfc4514_string())}; compare the authority's fingerprint with the consortium by "
            "telephone, then enrol again"
        )
    elif now is not None:
        yield from date_problems(issuer, now=now, what="the authority's certificate")
    if now is not None:
        yield from date_problems(certificate, now=now, what=what)


def date_problems(certificate: x509.Certificate, *, now: datetime, what: str) -> Iterator[str]:
    """Why a certificate is not valid at `now`; one sentence or none."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends:
        yield f"{what} expired on {day(ends)} (it is {day(now)} here); renew it, or set the clock if that is wrong"
    if now < begins:
        yield f"{what} is not valid before {day(begins)} (it is {day(now)} here); set a wrong clock, or wait"


def _issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether the authority's key signed the certificate and the authority may sign certificates at all."""
    try:
        certificate.verify_directly_issued_by(authority)
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
        return constraints.ca and authority.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False


def purposes_of(certificate: x509.Certificate) -> frozenset[x509.ObjectIdentifier]:
    """Extended key usages; empty when there are none or they cannot be read."""
    try:
        return frozenset(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except (ValueError, x509.ExtensionNotFound):
        return frozenset()


def _purpose_problems(certificate: x509.Certificate, wanted: x509.ObjectIdentifier, what: str) -> Iterator[str]:
    if (found := purposes_of(certificate)) != {wanted}:
        named = ", ".join(sorted(PURPOSES.get(one, one.dotted_string) for one in found)) or "nothing"
        yield f"{what} is good for {named}, not for {PURPOSES[wanted]}; use the certificate that was issued for that"


def _subject_problems(certificate: x509.Certificate, *, study: str, name: str, what: str) -> Iterator[str]:
    for oid, wanted, kind in ((NameOID.ORGANIZATION_NAME, study, "study"), (NameOID.COMMON_NAME, name, "name")):
        values = [attribute.value for attribute in certificate.subject.get_attributes_for_oid(oid)]
        if values != [wanted]:
            yield (
                f"{what} is for the {kind} {', '.join(map(shown, values)) or 'of nobody'}, not {wanted}; use the "
                "certificate that was issued here"
            )


def _node_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey | None:
    try:
        value = certificate.extensions.get_extension_for_oid(NODE_KEY).value
        assert isinstance(value, x509.UnrecognizedExtension)
        key = serialization.load_der_public_key(value.value)
    except (ValueError, x509.ExtensionNotFound):
        return None
    right = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1)
    return key if right else None  # type: ignore[return-value]  # the line before has told the kind


def _identity(
    certificate: x509.Certificate, *, study: str, name: str, node_key: ec.EllipticCurvePublicKey | None
) -> Identity:
    key = certificate.public_key()
    assert isinstance(key, ed25519.Ed25519PublicKey)
    return Identity(
        study=study,
        name=name,
        signing_key=key,
        node_key=node_key,
        serial=serial_of(certificate),
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
    )


def _other_key(what: str, kind: str, certified: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
               used: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> str:  # fmt: skip
    return (
        f"{what} certifies another {kind} key ({key_digest(certified)[:12]}) than the one in use "
        f"({key_digest(used)[:12]}); put back the key that was enrolled, or enrol the new one"
    )


def authority_fingerprint(certificate: x509.Certificate) -> str:
    """Of an authority's public key, for reading aloud: what a hospital compares before it trusts; or SecurityError."""
    return fingerprint(_authority_key(certificate))


def _authority_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SecurityError("an authority's key is not on an elliptic curve; use the authority that `init` made")
    return key


def day(moment: datetime) -> str:
    """A moment in UTC as messages show it, to the minute."""
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def newest(identities: Iterable[Identity]) -> Identity | None:
    """The identity that ends last: the one to use when two overlap."""
    return max(identities, key=lambda one: (one.ends, one.begins), default=None)
