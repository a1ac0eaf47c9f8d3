"""A hospital's folder of one study: who it is there, its keys, its certificate, its audit log.

```
site.json                    the names of site and study
signing.key, node.key        made here (mode 0600), never to leave this machine
request.json                 to be sent to the consortium; holds no secret
certificate.pem, authority.pem   what came back, after it was verified
audit.jsonl                  what was done here
```
"""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from core.errors import SecurityError
from core.security.audit import AuditLog
from core.security.folders import new_folder, read_file, write_file
from core.security.keys import (
    key_digest,
    load_node_key,
    load_signing_key,
    make_node_key,
    make_signing_key,
    write_private,
)
from core.security.names import check_name

SCHEMA_VERSION = 1
NAMES, LOG = "site.json", "audit.jsonl"
SIGNING_KEY, NODE_KEY = "signing.key", "node.key"


@dataclass(frozen=True)
class SiteFolder:
    """The folder that `make_site` made; files are read when they are asked for."""

    path: Path

    @property
    def site(self) -> str:
        """The hospital's name in the study."""
        return self._names["site"]

    @property
    def study(self) -> str:
        """The study's name."""
        return self._names["study"]

    @property
    def certificate(self) -> Path:
        """Where the site's certificate lies once it was accepted."""
        return self.path / "certificate.pem"

    @property
    def authority(self) -> Path:
        """Where the study's authority's certificate lies once it was accepted."""
        return self.path / "authority.pem"

    def signing_key(self) -> ed25519.Ed25519PrivateKey:
        """The key that signs what the site says; raises SecurityError."""
        return load_signing_key(self.path / SIGNING_KEY)

    def node_key(self) -> ec.EllipticCurvePrivateKey:
        """The key by which Flower recognizes the site; raises SecurityError."""
        return load_node_key(self.path / NODE_KEY)

    def log(self) -> AuditLog:
        """The audit log; raises SecurityError when it is broken or gone."""
        return AuditLog(self.log_path(), study=self.study, owner=self.site)

    def log_path(self) -> Path:
        """The audit log's file; raises SecurityError when it is gone: it is begun by `make_site` only."""
        assert self._names  # a folder that is no site's is told as such
        path = self.path / LOG
        if not path.is_file():
            raise SecurityError(
                f"{path}: the audit log is gone; restore it from a backup, or begin anew with `usfm-client init` in "
                "another folder"
            )
        return path

    @cached_property
    def _names(self) -> dict[str, str]:
        path = self.path / NAMES
        remedy = "give the folder that `usfm-client init` made with --folder"
        try:
            value = json.loads(read_file(path, remedy=remedy))
        except (ValueError, RecursionError) as error:
            raise SecurityError(f"{path}: not JSON ({error}); restore it from a backup") from error
        if not isinstance(value, dict) or set(value) != {"schema_version", "site", "study"}:
            raise SecurityError(f"{path}: must hold schema_version, site and study; restore it from a backup")
        if value["schema_version"] != SCHEMA_VERSION:
            raise SecurityError(f"{path}: not of schema {SCHEMA_VERSION}; use the matching version")
        return {name: check_name(value[name], what=f"{path}, {name}") for name in ("site", "study")}


def make_site(site: str, study: str, *, folder: Path, now: datetime) -> SiteFolder:
    """A hospital's new folder: both keys are made here, each in the audit log before it is written.

    Args:
        site: The hospital's name in the study.
        study: The study's name.
        folder: A new folder.
        now: The present, UTC.

    Raises:
        SecurityError: A name is malformed, or the folder is there already or cannot be made.
    """
    names = {"site": check_name(site, what="site"), "study": check_name(study, what="study")}
    signing, node = make_signing_key(), make_node_key()
    with new_folder(folder) as place:
        log = AuditLog(place / LOG, study=study, owner=site, clock=lambda: now)
        for key in (signing, node):
            log.append("keys_made", key=key_digest(key.public_key()))
        write_private(place / SIGNING_KEY, signing)
        write_private(place / NODE_KEY, node, openssh=True)
        content = json.dumps({"schema_version": SCHEMA_VERSION, **names}, indent=2) + "\n"
        write_file(place / NAMES, content.encode())
    return SiteFolder(folder)
