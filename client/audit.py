"""A hospital's audit log for the people there: shown, verified, handed to an auditor."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from client.site_folder import SiteFolder
from core.errors import SecurityError
from core.security.audit_proof import LONGEST, Verdict, export, verify_log
from core.security.audit_record import Record
from core.security.audit_walk import Walk
from core.security.folders import write_file


def records(folder: SiteFolder, *, last: int = 0) -> Iterator[str]:
    """The log's records as lines of text, up to the first bad one.

    Args:
        folder: The hospital's.
        last: Only so many from the end; 0 gives all.

    Raises:
        SecurityError: After the last good record, when one is bad; or the log cannot be read.
    """
    path = folder.log_path()
    found, problem = _followed(path)
    yield from map(_told, found[-last:])
    if problem:
        raise SecurityError(f"{path}: record {problem}; `usfm-client audit verify` says more")


def verified(folder: SiteFolder) -> Verdict:
    """What the log proves; raises SecurityError naming the first bad record when it is not intact.

    No receipts reach a hospital yet, so nothing countersigns the records: all are said to be unprovable.
    """
    path = folder.log_path()
    verdict = verify_log(path)
    if not verdict.intact:
        raise SecurityError(f"{path}: {verdict}; copy the file, and find out who changed it")
    return verdict


def write_export(folder: SiteFolder, out: Path) -> int:
    """Write the log with the site's signature to a new file; how many records it holds.

    The log notes first that it was handed over, so the export does not hold that note.

    Raises:
        SecurityError: The log is not intact, or `out` is there already.
    """
    log, key = folder.log(), folder.signing_key()
    head = verified(folder).head
    document = export(log.path, study=folder.study, site=folder.site, key=key)
    if out.is_symlink() or out.exists():
        raise SecurityError(f"{out}: there is a file already; give another name or move it away")
    log.append("exported", length=head.length, hash=head.hash, document=hashlib.sha256(document).hexdigest())
    write_file(out, document, fresh=True)
    return head.length


def _followed(path: Path) -> tuple[list[Record], str]:
    """The records that fit, and number and problem of the first that does not; a torn last line is left out."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST)
    except OSError as error:
        raise SecurityError(f"{path}: cannot be read ({error.strerror}); fix its permissions") from error
    walk, found = Walk(), list[Record]()
    for line in content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]:
        try:
            found.append(walk.step(line))
        except SecurityError as error:
            return found, f"{walk.head.length}: {error}"
    return found, ""


def _told(record: Record) -> str:
    fields = " ".join(f"{name}={value}" for name, value in sorted(record.fields.items()))
    return f"{record.number} {record.time} {record.event} {fields}".rstrip()
