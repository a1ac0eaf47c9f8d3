"""A hospital's side of enrolment: a request for a certificate, and the certificate that comes back.

Both are files that people carry. The request's fingerprint is read out by the hospital, the authority's by the
consortium; what comes back is installed only if it certifies the keys in this folder.
"""

from datetime import datetime
from pathlib import Path

from cryptography import x509

from client.site_folder import SiteFolder
from core.errors import SecurityError
from core.security.audit import AuditLog
from core.security.authority import save_certificate
from core.security.certificates import (
    SITE_PURPOSE,
    Identity,
    authority_fingerprint,
    certificate_digest,
    chain_problems,
    parse_certificate,
    purposes_of,
    verify_site,
)
from core.security.enrolment import Request, make_request
from core.security.folders import read_file, write_file
from core.security.keys import heard

REQUEST = "request.json"


def write_request(folder: SiteFolder, *, now: datetime) -> tuple[Request, Path]:
    """Write the request to be sent to the consortium, in place of an earlier one; it holds no secret.

    Once the site has a certificate this is a renewal of it, for the same keys.

    Raises:
        SecurityError: The folder is no site's, a key cannot be read, or the log cannot be written.
    """
    signing, node = folder.signing_key(), folder.node_key()
    present = signing if folder.certificate.exists() else None
    request = make_request(
        study=folder.study, site=folder.site, signing_key=signing, node_key=node, now=now, present=present
    )
    folder.log().append("certificate_requested", site=folder.site, request=request.digest)
    path = folder.path / REQUEST
    write_file(path, request.document + b"\n")
    return request, path


def accept(folder: SiteFolder, certificate: Path, *, authority: Path, fingerprint: str, now: datetime) -> Identity:
    """Install the certificate that the consortium issued for the keys in this folder.

    Args:
        folder: The hospital's.
        certificate: The file that came back.
        authority: The certificate of the study's authority, which came with it.
        fingerprint: The authority's, as the consortium read it out.
        now: The present, UTC.

    Raises:
        SecurityError: With every reason why it is not installed; the refusal stands in the audit log.
    """
    log, keys = folder.log(), (folder.node_key().public_key(), folder.signing_key().public_key())
    mine, theirs = (_certificate(path, log) for path in (certificate, authority))
    refused = {"site": folder.site, "certificate": certificate_digest(mine)}
    try:
        _check_authority(theirs, authority, folder, fingerprint)
    except SecurityError:
        log.append("certificate_refused", **refused, reason="authority")
        raise
    try:
        identity = verify_site(
            mine, authorities=[theirs], study=folder.study, site=folder.site, now=now,
            node_key=keys[0], signing_key=keys[1],
        )  # fmt: skip
    except SecurityError:
        log.append("certificate_refused", **refused, reason=_reason(mine, theirs, now))
        raise
    log.append("certificate_installed", certificate=certificate_digest(mine), authority=certificate_digest(theirs))
    # The authority first: without a certificate the site is not enrolled, and the command can be repeated.
    save_certificate(folder.authority, theirs)
    save_certificate(folder.certificate, mine)
    return identity


def _certificate(path: Path, log: AuditLog) -> x509.Certificate:
    content = read_file(path, remedy="give the file that the consortium sent")
    try:
        return parse_certificate(content, what=str(path))
    except SecurityError:
        log.append("certificate_refused", reason="malformed")
        raise


def _check_authority(authority: x509.Certificate, path: Path, folder: SiteFolder, fingerprint: str) -> None:
    """Raise SecurityError unless this is the authority that was read out, and no other was trusted here before."""
    found = authority_fingerprint(authority)
    if heard(found) != heard(fingerprint):
        raise SecurityError(
            f"{path}: the authority has another fingerprint than was read out; somebody exchanged the file: ask the "
            "consortium for it again"
        )
    if folder.authority.exists():
        known = parse_certificate(
            read_file(folder.authority, remedy="restore it from a backup"), what=str(folder.authority)
        )
        if authority_fingerprint(known) != found:
            raise SecurityError(
                f"{folder.authority}: another authority is trusted here; if the consortium told you on the telephone "
                "that it was replaced, move this file away, then accept again"
            )


def _reason(certificate: x509.Certificate, authority: x509.Certificate, now: datetime) -> str:
    """The audit log's word for what is wrong with a certificate; the sentences go to the person."""
    if list(chain_problems(certificate, authorities=[authority], now=None, what="it")):
        return "authority"
    if now > min(certificate.not_valid_after_utc, authority.not_valid_after_utc):
        return "expired"
    if now < max(certificate.not_valid_before_utc, authority.not_valid_before_utc):
        return "not_yet_valid"
    return "key" if purposes_of(certificate) == {SITE_PURPOSE} else "purpose"
