"""The registry's file: read again when it changed, replaced whole under a lock."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509

from core.atomic import write_atomically
from core.errors import SecurityError
from core.security.certificates import certificate_pem, parse_certificate
from core.security.enrolment import read_request
from core.security.locks import locked
from core.security.names import check_name, is_whole, shown
from core.security.registry import LONGEST_REASON, Entry, Registry, entry_for

SCHEMA_VERSION = 1
LONGEST = 64 * 1024 * 1024
"""Bytes of the file: ten thousand certificates fit."""
_T = TypeVar("_T")


class RegistryFile:
    """A study's registry on disk."""

    def __init__(self, path: Path, *, study: str, authorities: Sequence[x509.Certificate]) -> None:
        """Use `path`, which is made at the first change; the study must be the file's."""
        self.path = path
        self._empty = Registry(study=check_name(study, what="study"), authorities=tuple(authorities))
        self._seen: tuple[int, ...] = ()
        self._registry = self._empty

    def read(self) -> Registry:
        """The list as it stands now; cheap while nobody changed it.

        Raises:
            SecurityError: The file is damaged, of another study or schema, vanished, or holds a certificate that the
                authority did not issue for that site. Then nobody must be let in: trust nobody rather than anybody.
        """
        try:
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())
                stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
                if stamp != self._seen:
                    self._registry = self._parsed(file.read(LONGEST + 1))
                    self._seen = stamp
        except FileNotFoundError as error:
            if self._seen:
                raise SecurityError(
                    f"{self.path}: was there and is gone; restore it before anybody is let in"
                ) from error
            return self._empty
        except OSError as error:
            raise SecurityError(f"{self.path}: cannot be read ({error.strerror}); fix its permissions") from error
        return self._registry

    def change(self, step: Callable[[Registry], tuple[Registry, _T]]) -> _T:
        """Apply a change to the newest list and save it, alone among all processes; give what `step` adds.

        Raises:
            SecurityError: From `step`, and then nothing changed; or the file cannot be read or written.
        """
        with locked(self.path):
            registry, result = step(self.read())
            content = json.dumps(_document(registry), indent=1, sort_keys=True).encode() + b"\n"
            try:
                write_atomically(self.path, content)
            except OSError as error:
                raise SecurityError(
                    f"{self.path}: cannot be written ({error.strerror}); nothing changed: free space and repeat"
                ) from error
        return result

    def _parsed(self, content: bytes) -> Registry:
        try:
            value = json.loads(content) if len(content) <= LONGEST else None
        except (ValueError, RecursionError) as error:
            raise SecurityError(f"{self.path}: damaged ({error}); restore it from a backup, revocations too") from error
        wanted = {"schema_version", "study", "sites", "requests"}
        if not isinstance(value, dict) or set(value) != wanted or value["schema_version"] != SCHEMA_VERSION:
            raise SecurityError(f"{self.path}: no registry of schema {SCHEMA_VERSION}; use the matching version")
        if value["study"] != self._empty.study:
            raise SecurityError(f"{self.path}: of study {shown(value['study'])}, not {self._empty.study}")
        if not isinstance(value["sites"], dict) or not isinstance(value["requests"], dict):
            raise SecurityError(f"{self.path}: its list of sites is malformed; restore it from a backup")
        sites = {site: tuple(self._entries(site, listed)) for site, listed in value["sites"].items()}
        requests = {}
        for site, document in value["requests"].items():
            requests[site] = read_request(str(document).encode())
            if requests[site].site != check_name(site, what=f"{self.path}, request"):
                raise SecurityError(f"{self.path}: the request under site {site} is of another; restore the file")
        return Registry(study=self._empty.study, authorities=self._empty.authorities, sites=sites, requests=requests)

    def _entries(self, site: str, listed: object) -> Iterator[Entry]:
        check_name(site, what=f"{self.path}, site")
        if not isinstance(listed, list) or not listed:
            raise SecurityError(f"{self.path}, site {site}: malformed; restore the file from a backup")
        for number, item in enumerate(listed, start=1):
            what = f"{self.path}, site {site}, certificate {number}"
            if not _well_formed(item):
                raise SecurityError(f"{what}: malformed; restore the file from a backup")
            try:
                certificate = parse_certificate(item["certificate"].encode(), what=what)
                yield entry_for(
                    certificate, self._empty, site,
                    approved=item["approved"], revoked=item["revoked"], reason=item["reason"],
                )  # fmt: skip
            except SecurityError as error:
                raise SecurityError(error.problems, title=what) from error


def _well_formed(item: object) -> bool:
    return (
        isinstance(item, dict)
        and set(item) == {"certificate", "approved", "revoked", "reason"}
        and isinstance(item["certificate"], str)
        and is_whole(item["approved"])
        and is_whole(item["revoked"])
        and isinstance(item["reason"], str)
        and len(item["reason"]) <= LONGEST_REASON
    )


def _document(registry: Registry) -> Mapping[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "study": registry.study,
        "sites": {
            site: [
                {
                    "certificate": certificate_pem(one.certificate).decode(),
                    "approved": one.approved,
                    "revoked": one.revoked,
                    "reason": one.reason,
                }
                for one in entries
            ]
            for site, entries in registry.sites.items()
        },
        "requests": {site: request.document.decode() for site, request in registry.requests.items()},
    }
