"""What an audit log proves: the first bad record, what was cut off, and what nobody vouches for.

The chain alone finds an edit or a removal by somebody who does not write all later records anew. Whoever owns the disk
can do that, or put an older disk back. Against him stand the receipts: each is signed by the consortium and carries the
heads of the sites' logs, so a log that does not pass through a countersigned head was rewritten, cut or restored.
Records after the last countersigned head could be replaced without a trace, and are said to be unprovable.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519

from core.errors import SecurityError
from core.security.audit_record import Head
from core.security.audit_walk import Walk
from core.security.canonical import canonical, parse
from core.security.signing import sign, verify

LONGEST = 512 * 1024 * 1024
"""Bytes of a log that is verified: over a million records."""
KIND = "audit export"


@dataclass(frozen=True, kw_only=True)
class Countersigned:
    """A head of this log in a receipt whose signature was verified."""

    round: int
    head: Head


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What verification found."""

    first: int
    """Number of the first record that is still there; larger than 0 when older ones were pruned by the retention."""
    head: Head
    """After the last record that fits."""
    bad: int | None
    """Number of the first bad or missing record; None when there is none."""
    problem: str
    """What is wrong with it; empty when nothing is."""
    unprovable: int
    """Records after the last countersigned head."""
    torn: int
    """Bytes of a line that a kill tore; mended when the log is opened next, no sign of tampering."""

    @property
    def intact(self) -> bool:
        """Whether no record is bad or missing."""
        return self.bad is None

    def __str__(self) -> str:
        """Sentences for a person."""
        lines = [f"records {self.first} to {self.head.length - 1} are chained"]
        if self.bad is not None:
            lines = [f"record {self.bad} is the first bad one: {self.problem}"]
        if self.first:
            lines.append(
                f"records 0 to {self.first - 1} were pruned, as the log itself says: compare with older exports"
            )
        if self.unprovable:
            since = self.head.length - self.unprovable
            lines.append(f"records from {since} on are unprovable: no receipt countersigns them yet")
        if self.torn:
            lines.append(f"the last {self.torn} bytes are a line torn by a kill; the next start mends it")
        return "; ".join(lines)


def verify_log(path: Path, *, heads: Iterable[Countersigned] = ()) -> Verdict:
    """Verify a log's file; it is only read, so the log may be in use or on another machine.

    Args:
        path: The file.
        heads: From verified receipts (`core.security.receipts.countersigned`), in any order.

    Raises:
        SecurityError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise SecurityError(f"{path}: cannot be read ({error.strerror}); give the path of an audit log") from error
    if len(content) > LONGEST:
        raise SecurityError(f"{path}: longer than {LONGEST} bytes; prune it")
    return verify_content(content, heads=heads)


def verify_content(content: bytes, *, heads: Iterable[Countersigned] = ()) -> Verdict:
    """`verify_log` for the file's bytes."""
    walk = Walk()
    problem = walk.follow(content)
    bad = walk.head.length if problem else None
    if not problem and (problem := walk.start_problem()):
        bad = 0
    listed = sorted(heads, key=lambda one: (one.head.length, one.round))
    vouched, against = _against(walk, listed, complete=not problem)
    # An earlier record that no receipt knows counts before a later one that does not chain.
    if against is not None and (bad is None or against[0] < bad):
        bad, problem = against
    return Verdict(
        first=walk.first.length,
        head=walk.head,
        bad=bad,
        problem=problem,
        unprovable=max(0, walk.head.length - vouched),
        torn=0 if problem else len(content) - walk.size,
    )


def _against(walk: Walk, heads: Sequence[Countersigned], *, complete: bool) -> tuple[int, tuple[int, str] | None]:
    """The length up to which receipts vouch for the log, and what speaks against it: (first suspect, sentence)."""
    vouched = walk.first.length
    for one in heads:
        length, digest = one.head
        if length < walk.first.length:
            continue
        if length > walk.head.length:
            text = (
                f"the receipt of round {one.round} countersigns {length} records and the log ends after "
                f"{walk.head.length}: its end was cut off, or an older disk was restored"
            )
            return vouched, (walk.head.length, text) if complete else None
        if walk.hashes.get(length) != digest:
            span = f"record {vouched}" if length - vouched == 1 else f"one of the records {vouched} to {length - 1}"
            text = (
                f"{span} is not what the receipt of round {one.round} countersigns: the log was written anew, or goes "
                "on from an older disk that was restored"
            )
            return vouched, (vouched, text)
        vouched = length
    return vouched, None


def export(
    path: Path,
    *,
    study: str,
    site: str,
    key: ed25519.Ed25519PrivateKey,
    heads: Iterable[Countersigned] = (),
) -> bytes:
    """The whole log with the site's signature over it, for an auditor: one JSON document.

    Raises:
        SecurityError: The log is not intact; what is broken is not vouched for. Copy the file itself then.
    """
    verdict = verify_log(path, heads=heads)
    if not verdict.intact:
        raise SecurityError(f"{path}: {verdict}; a broken log is not signed: hand over the file itself")
    content = path.read_bytes()[: _size(path, verdict)]
    seal = sign("export", _fields(content, study, site, verdict.head), key)
    return canonical({"kind": KIND, "log": content.decode(), "seal": seal.decode()})


def read_export(
    document: bytes, *, study: str, site: str, keys: Iterable[ed25519.Ed25519PublicKey]
) -> tuple[bytes, Verdict]:
    """The log inside an export and what it proves; raises SecurityError when the site did not sign it."""
    value = parse(document, what=KIND, longest=LONGEST)
    if set(value) != {"kind", "log", "seal"} or not isinstance(value["log"], str) or value["kind"] != KIND:
        raise SecurityError(f"{KIND}: the document is something else; ask the site for `audit export`")
    fields = verify(str(value["seal"]).encode(), kind="export", keys=keys, expected={"study": study, "site": site})
    content = value["log"].encode()
    verdict = verify_content(content)
    if fields != _fields(content, study, site, verdict.head):
        raise SecurityError(f"{KIND}: the log inside is not the one that was signed; ask for it again")
    return content, verdict


def _fields(content: bytes, study: str, site: str, head: Head) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    return {"study": study, "site": site, "length": head.length, "hash": head.hash, "log": digest}


def _size(path: Path, verdict: Verdict) -> int:
    return path.stat().st_size - verdict.torn
