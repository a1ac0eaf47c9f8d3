"""The consortium's list of sites: who asked, who was approved and with which certificates, who was revoked and why.

One JSON file, replaced atomically under a lock. The running server and the command line are two processes: the command
line changes the file, the server reads it again at each poll, so a revocation holds within one poll and after a
restart. A damaged file is an error, never an empty list. Each certificate in it is checked against the authority again,
so an edited name or key is found.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519

from core.errors import SecurityError
from core.security.authority import CERTIFICATE_DAYS, Authority, issue_site
from core.security.certificates import Identity, date_problems, newest, serial_of, verify_site
from core.security.enrolment import Request
from core.security.keys import heard, key_digest, public_pem
from core.security.names import check_name, shown

LONGEST_REASON = 200
"""Characters of a reason for revoking."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One certificate of a site."""

    certificate: x509.Certificate
    identity: Identity
    """What the certificate says; it was checked when the registry was read, all but its dates."""
    approved: int
    """Seconds since 1970, UTC."""
    revoked: int = 0
    """Seconds since 1970; 0 while it is not revoked."""
    reason: str = ""
    """Why it was revoked."""

    @property
    def keys(self) -> frozenset[str]:
        """Digests of both keys that the certificate binds."""
        assert self.identity.node_key is not None
        return frozenset({key_digest(self.identity.signing_key), key_digest(self.identity.node_key)})


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The list at one moment; each change gives another."""

    study: str
    authorities: Sequence[x509.Certificate]
    sites: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    """Certificates by site, the oldest first."""
    requests: Mapping[str, Request] = field(default_factory=dict)
    """By site, waiting for a person."""

    def with_request(self, request: Request) -> "Registry":
        """Note a request, in place of an earlier one of its site; raises SecurityError if it can never be approved."""
        if found := list(self._objections(request)):
            raise SecurityError(found)
        return replace(self, requests={**self.requests, request.site: request})

    def without_request(self, site: str) -> "Registry":
        """Refuse a request; raises SecurityError when there is none."""
        self._request(site)
        return replace(self, requests={name: one for name, one in self.requests.items() if name != site})

    def approve(
        self, site: str, *, authority: Authority, fingerprint: str, now: datetime, days: int = CERTIFICATE_DAYS
    ) -> tuple["Registry", x509.Certificate]:
        """Certify a site whose request has the fingerprint that the hospital read out.

        Args:
            site: Whose request.
            authority: It issues the certificate.
            fingerprint: As heard on the telephone; empty for a renewal that the site's present key signed.
            now: The present, UTC.
            days: Of validity.

        Raises:
            SecurityError: There is no request, or the fingerprint is not the request's.
        """
        request = self._request(site)
        if found := list(self._objections(request)):
            raise SecurityError(found)
        if fingerprint:
            if heard(fingerprint) != request.digest:
                raise SecurityError(
                    f"site {site}: the request has another fingerprint than was read out; somebody changed it on its "
                    "way or sent his own: ask the hospital for the file again"
                )
        elif not any(request.endorsed_by(key) for key in self.signing_keys(site, now)):
            raise SecurityError(
                f"site {site}: no key of the site that is valid now signed this request; have the hospital read its "
                "fingerprint out, and give it"
            )
        certificate = issue_site(authority, request, now=now, days=days)
        entry = entry_for(certificate, self, site, approved=int(now.timestamp()))
        return replace(
            self.without_request(site), sites={**self.sites, site: (*self.sites.get(site, ()), entry)}
        ), certificate

    def revoke(self, site: str, *, reason: str, now: datetime, serial: str = "") -> "Registry":
        """Take a site's trust away for good; its keys can never be enrolled again.

        Args:
            site: Which.
            reason: For the record, at most 200 characters.
            now: The present, UTC.
            serial: One certificate (and its keys) only, say after a rotation; empty for all.

        Raises:
            SecurityError: Nothing to revoke, or no reason.
        """
        if not reason.strip() or len(reason) > LONGEST_REASON or not reason.isprintable():
            raise SecurityError(f"revoking needs a reason of 1 to {LONGEST_REASON} printable characters, in one line")
        entries = self.sites.get(check_name(site, what="site"), ())
        chosen = [one for one in entries if not one.revoked and serial in ("", one.identity.serial)]
        if not chosen:
            which = f"no unrevoked certificate {shown(serial)}" if serial else "no unrevoked certificate"
            raise SecurityError(f"site {site} has {which}; `usfm-server enroll list` shows what there is")
        moment = int(now.timestamp())
        after = tuple(replace(one, revoked=moment, reason=reason) if one in chosen else one for one in entries)
        return replace(self, sites={**self.sites, site: after})

    def identities(self, site: str, now: datetime) -> list[Identity]:
        """What a site may use now: valid by date, not revoked, no key of it revoked; two while it rotates."""
        revoked = self.revoked_keys()
        return [
            one.identity
            for one in self.sites.get(site, ())
            if not one.revoked
            and not one.keys & revoked
            and not list(date_problems(one.certificate, now=now, what="it"))
        ]

    def signing_keys(self, site: str, now: datetime) -> list[ed25519.Ed25519PublicKey]:
        """Keys whose signature counts as the site's now; for `core.security.signing.verify`."""
        return [one.signing_key for one in self.identities(site, now)]

    def node_keys(self, now: datetime) -> dict[bytes, str]:
        """Site by node key (PEM, as Flower registers it): who may connect now."""
        return {
            public_pem(one.node_key): site
            for site in sorted(self.sites)
            for one in self.identities(site, now)
            if one.node_key is not None
        }

    def revoked_keys(self) -> frozenset[str]:
        """Digests of all keys of revoked certificates."""
        return frozenset().union(*(one.keys for entries in self.sites.values() for one in entries if one.revoked))

    def status(self, now: datetime) -> dict[str, str]:
        """By site, one word each: requested, valid, expired, revoked; valid wins."""
        found = dict.fromkeys(sorted({*self.sites, *self.requests}), "requested")
        for site, entries in self.sites.items():
            if newest(self.identities(site, now)) is not None:
                found[site] = "valid"
            elif all(one.revoked for one in entries):
                found[site] = "revoked"
            else:
                found[site] = "expired"
        return found

    def _request(self, site: str) -> Request:
        if check_name(site, what="site") not in self.requests:
            waiting = ", ".join(sorted(self.requests)) or "none"
            raise SecurityError(f"site {site} has no request waiting (waiting: {waiting}); read its file first")
        return self.requests[site]

    def _objections(self, request: Request) -> Iterator[str]:
        """Why a request can never be approved here."""
        site, keys = request.site, {key_digest(request.signing_key), key_digest(request.node_key)}
        if request.study != self.study:
            yield f"the request is for study {request.study}, this is {self.study}; make one for this study"
        for other in sorted({*self.sites, *self.requests}):
            if other != site and other.lower() == site.lower():
                yield f"site {site} differs from site {other} in capitals only; choose another name"
            elif other != site and any(keys & one.keys for one in self.sites.get(other, ())):
                yield f"site {site} asks for a key of site {other}; each hospital makes its own with `usfm-client init`"
        if keys & self.revoked_keys():
            yield f"site {site} asks for a key that was revoked; make new keys with `usfm-client init`"


def entry_for(
    certificate: x509.Certificate, registry: Registry, site: str, *, approved: int, revoked: int = 0, reason: str = ""
) -> Entry:
    """An entry whose certificate is this study's, this site's and one of the authorities'; raises SecurityError."""
    identity = verify_site(certificate, authorities=registry.authorities, study=registry.study, site=site, now=None)
    assert identity.serial == serial_of(certificate)
    return Entry(certificate=certificate, identity=identity, approved=approved, revoked=revoked, reason=reason)
