"""The consortium's side of enrolment: a request is taken in, compared by telephone, certified; or trust is taken away.

Each step stands in the audit log before it is done, and so does each request that is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from core.errors import SecurityError
from core.security.authority import save_certificate
from core.security.certificates import certificate_digest, day
from core.security.enrolment import Request, read_request
from core.security.expiry import expiry_warning
from core.security.folders import read_file
from core.security.keys import key_digest
from core.security.registry import Entry, Registry
from server.study_folder import StudyFolder

ASK_AGAIN = "give the file that the hospital sent"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The registry at one moment, for people and for programs."""

    study: str
    sites: Mapping[str, Mapping[str, Any]]
    """By site: its state, certificates, the fingerprint of a request that waits, warnings."""
    warnings: tuple[str, ...]
    """Of the consortium's own certificates."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"schema_version": 1, "study": self.study, "sites": dict(self.sites), "warnings": list(self.warnings)}

    def lines(self) -> list[str]:
        """As text."""
        found = [f"study {self.study}: {len(self.sites)} sites"]
        for site, one in self.sites.items():
            found.append(f"{site}: {one['state']}")
            found += [f"  {_told(certificate)}" for certificate in one["certificates"]]
            if one["request"]:
                found.append(f"  request waits, fingerprint {one['request']}")
            found += [f"  warning: {text}" for text in one["warnings"]]
        return [*found, *(f"warning: {text}" for text in self.warnings)]


def take_request(folder: StudyFolder, file: Path) -> Request:
    """Note a hospital's request; whose it is, its fingerprint must show.

    Raises:
        SecurityError: It is malformed, of another study, or asks for keys that it may not have.
    """
    registry, log = folder.registry(), folder.log()
    content = read_file(file, remedy=ASK_AGAIN)
    try:
        request = read_request(content)
    except SecurityError as error:
        log.append("request_refused", reason="malformed")
        raise SecurityError(error.problems, title=str(file)) from error

    def step(before: Registry) -> tuple[Registry, Request]:
        try:
            return before.with_request(request), request
        except SecurityError:
            log.append("request_refused", site=request.site, request=request.digest, reason=_reason(before, request))
            raise

    return registry.change(step)


def approve(folder: StudyFolder, site: str, *, fingerprint: str, now: datetime) -> x509.Certificate:
    """Certify the site whose request has the fingerprint that was read out; `issued/SITE.pem` is to be sent back.

    Raises:
        SecurityError: No request waits, the fingerprint is another, or the authority's key lies elsewhere.
    """
    registry, log = folder.registry(), folder.log()
    authority, place = folder.authority(), folder.issued(site)

    def step(before: Registry) -> tuple[Registry, x509.Certificate]:
        try:
            after, certificate = before.approve(site, authority=authority, fingerprint=fingerprint, now=now)
        except SecurityError:
            if request := before.requests.get(site):
                reason = "revoked" if _reason(before, request) == "revoked" else "digest"
                log.append("request_refused", site=site, request=request.digest, reason=reason)
            raise
        request = before.requests[site]
        log.append("site_approved", site=site, request=request.digest, certificate=certificate_digest(certificate))
        # Before the list: a certificate that is not on it is worth nothing, and the command can be repeated.
        save_certificate(place, certificate)
        return after, certificate

    return registry.change(step)


def revoke(folder: StudyFolder, site: str, *, reason: str, now: datetime) -> int:
    """Take a site's trust away for good, and drop a request of it that waits; how many certificates it had.

    Raises:
        SecurityError: There is nothing to revoke, or the reason is empty or too long.
    """
    registry, log = folder.registry(), folder.log()

    def step(before: Registry) -> tuple[Registry, int]:
        after = before.revoke(site, reason=reason, now=now)
        if site in after.requests:
            after = after.without_request(site)
        gone = [one for one in before.sites[site] if not one.revoked]
        for one in gone:
            log.append("site_revoked", site=site, certificate=certificate_digest(one.certificate), reason="operator")
        return after, len(gone)

    return registry.change(step)


def listing(folder: StudyFolder, *, now: datetime) -> Listing:
    """Every site with its state; nothing is changed."""
    registry = folder.registry().read()
    sites = {
        site: {
            "state": state,
            "certificates": [_shown(one) for one in registry.sites.get(site, ())],
            "request": registry.requests[site].fingerprint if site in registry.requests else "",
            "warnings": _site_warnings(registry, site, now),
        }
        for site, state in registry.status(now).items()
    }
    found = (expiry_warning(one, now) for one in folder.certificates())
    return Listing(study=folder.study, sites=sites, warnings=tuple(one.text for one in found if one))


def _site_warnings(registry: Registry, site: str, now: datetime) -> list[str]:
    """About the certificate that ends last, unless it was revoked: an older one has done its service."""
    kept = [one.certificate for one in registry.sites.get(site, ()) if not one.revoked]
    newest = max(kept, key=lambda one: one.not_valid_after_utc, default=None)
    found = None if newest is None else expiry_warning(newest, now)
    return [found.text] if found else []


def _reason(registry: Registry, request: Request) -> str:
    """The audit log's word for why a request can never be approved."""
    if request.study != registry.study:
        return "name"
    keys = {key_digest(request.signing_key), key_digest(request.node_key)}
    return "revoked" if keys & registry.revoked_keys() else "key"


def _shown(entry: Entry) -> dict[str, Any]:
    identity = entry.identity
    return {
        "serial": identity.serial,
        "begins": day(identity.begins),
        "ends": day(identity.ends),
        "approved": _moment(entry.approved),
        "revoked": _moment(entry.revoked) if entry.revoked else "",
        "reason": entry.reason,
    }


def _told(certificate: Mapping[str, str]) -> str:
    text = f"certificate {certificate['serial'][:12]} from {certificate['begins']} to {certificate['ends']}"
    revoked = certificate["revoked"]
    return f"{text}, revoked {revoked}: {certificate['reason']}" if revoked else text


def _moment(seconds: int) -> str:
    return day(datetime.fromtimestamp(seconds, UTC))
