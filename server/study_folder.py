"""The consortium's folder of one study: authority, keys, certificates, registry, audit log, configuration.

```
authority.pem, authority.key      issues every certificate; the key may lie elsewhere while nobody is enrolled
tls.pem, tls.key                  the public port's
consortium.pem, consortium.key    signs instructions and receipts
registry.json                     the list of sites
issued/SITE.pem                   the newest certificate of a site, to be sent to it
audit.jsonl                       what was done here
study.yaml                        the study's configuration
```
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from core.errors import SecurityError
from core.security.audit import AuditLog
from core.security.authority import (
    CERTIFICATE_FILE,
    Authority,
    issue_consortium,
    issue_tls,
    load_authority,
    make_authority,
    save_certificate,
)
from core.security.certificates import read_certificate
from core.security.folders import new_folder, write_file
from core.security.keys import PrivateKey, key_digest, make_node_key, make_signing_key, write_private
from core.security.names import check_name
from core.security.registry_file import RegistryFile

OWNER = "consortium"
"""Of the audit log."""
TLS, CONSORTIUM = "tls", "consortium"
"""Stems of a certificate's file and its key's."""


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study that `make_study` made; files are read when they are asked for."""

    path: Path

    @cached_property
    def authority_certificate(self) -> x509.Certificate:
        """The authority's certificate; raises SecurityError when this is no study's folder."""
        try:
            return read_certificate(self.path / CERTIFICATE_FILE)
        except SecurityError as error:
            raise SecurityError(
                f"{self.path}: no study's folder ({error}); give the one that `usfm-server init` made with --folder"
            ) from error

    @cached_property
    def study(self) -> str:
        """The study's name, as the authority's certificate has it."""
        names = self.authority_certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        return check_name(names[0].value if len(names) == 1 else None, what=f"{self.path / CERTIFICATE_FILE}, study")

    def authority(self) -> Authority:
        """The authority with its key; raises SecurityError when the key lies elsewhere."""
        return load_authority(self.path)

    def registry(self) -> RegistryFile:
        """The list of sites."""
        return RegistryFile(self.path / "registry.json", study=self.study, authorities=[self.authority_certificate])

    def log(self) -> AuditLog:
        """The consortium's audit log; raises SecurityError when it is broken or gone."""
        path = self.path / "audit.jsonl"
        if not path.is_file():
            raise SecurityError(f"{path}: the audit log is gone; restore it from a backup before anything is done")
        return AuditLog(path, study=self.study, owner=OWNER)

    def certificates(self) -> list[x509.Certificate]:
        """The consortium's own: authority, TLS and signing; for warnings before they end."""
        own = [read_certificate(self.path / f"{stem}.pem") for stem in (TLS, CONSORTIUM)]
        return [self.authority_certificate, *own]

    def issued(self, site: str) -> Path:
        """Where a site's certificate lies; raises SecurityError unless this is a name."""
        return self.path / "issued" / f"{check_name(site, what='site')}.pem"


def make_study(study: str, *, folder: Path, names: Sequence[str], now: datetime) -> StudyFolder:
    """A new study: every key is made here, and each is in the audit log before it is written.

    Args:
        study: Its name.
        folder: A new folder.
        names: DNS names and IP addresses by which hospitals reach the server.
        now: The present, UTC.

    Raises:
        SecurityError: A name is malformed, or the folder is there already or cannot be made.
    """
    authority = make_authority(study, now=now)
    tls, signing = make_node_key(), make_signing_key()
    own: list[tuple[str, PrivateKey, x509.Certificate]] = [
        (TLS, tls, issue_tls(authority, tls.public_key(), names=names, now=now)),
        (CONSORTIUM, signing, issue_consortium(authority, signing.public_key(), study=study, now=now)),
    ]
    with new_folder(folder) as place:
        log = AuditLog(place / "audit.jsonl", study=study, owner=OWNER, clock=lambda: now)
        for key in (authority.key, tls, signing):
            log.append("keys_made", key=key_digest(key.public_key()))
        authority.save(place)
        for stem, key, certificate in own:
            write_private(place / f"{stem}.key", key)
            save_certificate(place / f"{stem}.pem", certificate)
        write_file(place / "study.yaml", _example(study).encode())
    return StudyFolder(folder)


def _example(study: str) -> str:
    """The example configuration, with the study's name in it."""
    text = (files("configs") / "study.yaml").read_text()
    # In quotes: a name such as 2026 or no would be something else in YAML.
    return text.replace("name: STUDY", f'name: "{study}"')
