"""One record of an audit log: which events there are, which fields they may have, how a record hangs on the last one.

The allow-list is what keeps patients out of the log: a field holds a name of a site, a digest, a whole number, or a
word from a list in this file. There is no free text, so no path, message or identifier can slip in.

Chaining by hashes: Schneier and Kelsey, Secure audit logs to support computer forensics, TISSEC 1999, without their
per-record keys; here the receipts' countersignatures bind the head instead.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from core.errors import SecurityError
from core.security.canonical import canonical, parse
from core.security.names import is_digest, is_name, is_whole, shown

SCHEMA_VERSION = 1
DOMAIN = b"usfm audit record 1\x00"
LONGEST = 4096
"""Bytes of one record."""
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


class Head(NamedTuple):
    """Where a log ends."""

    length: int
    """Records since the log was opened, pruned ones too."""
    hash: str
    """Of the last record, hexadecimal."""


NOTHING = Head(0, "0" * 64)
"""The head of a log before its first record."""

REASONS = frozenset({
    "absent", "authority", "bundle", "clock", "deadline", "digest", "disk", "duplicate", "expired", "failed", "key",
    "late", "malformed", "model", "name", "norm", "not_approved", "not_finite", "not_yet_valid", "operator", "oversize",
    "path", "plan", "policy", "privacy", "purpose", "quorum", "replay", "revoked", "rotation", "round", "shape",
    "signal", "signature", "slow", "stale", "too_many", "unregistered", "unsigned", "version",
})  # fmt: skip
"""Why something was refused or stopped; a reader finds the sentence in the program's own log."""


def is_reason(value: object) -> bool:
    """Whether this is one of `REASONS`."""
    return isinstance(value, str) and value in REASONS


FIELDS: dict[str, Callable[[object], bool]] = {
    "study": is_name, "site": is_name, "owner": is_name,
    "plan": is_digest, "previous_plan": is_digest, "base": is_digest, "update": is_digest, "model": is_digest,
    "receipt": is_digest, "request": is_digest, "certificate": is_digest, "authority": is_digest, "key": is_digest,
    "document": is_digest, "hash": is_digest,
    "round": is_whole, "bytes": is_whole, "steps": is_whole, "images": is_whole, "patients": is_whole,
    "organs": is_whole, "seconds": is_whole, "length": is_whole, "days": is_whole, "sites": is_whole,
    "reason": is_reason,
}  # fmt: skip
"""Every field and what it may hold."""

_ROUND = frozenset({"plan", "round", "base"})
EVENTS: dict[str, frozenset[str]] = {
    # The log itself.
    "opened": frozenset({"study", "owner"}),
    "mended": frozenset({"bytes"}),
    "pruned": frozenset({"study", "owner", "length", "hash", "days"}),
    "exported": frozenset({"length", "hash", "document"}),
    # Keys and certificates.
    "keys_made": frozenset({"key"}),
    "certificate_requested": frozenset({"site", "request"}),
    "certificate_installed": frozenset({"certificate", "authority"}),
    "certificate_refused": frozenset({"site", "certificate", "reason"}),
    "request_refused": frozenset({"site", "request", "reason"}),
    "site_approved": frozenset({"site", "request", "certificate"}),
    "site_revoked": frozenset({"site", "certificate", "reason"}),
    # Plans and what is disclosed.
    "plan_approved": frozenset({"site", "plan", "previous_plan"}),
    "plan_withdrawn": frozenset({"site", "plan"}),
    "plan_refused": frozenset({"site", "plan", "previous_plan", "reason"}),
    "counts_disclosed": frozenset({"patients", "organs", "document"}),
    # A round.
    "started": frozenset({"plan", "round"}),
    "stopped": frozenset({"plan", "round", "reason"}),
    "round_asked": _ROUND | {"sites"},
    "round_started": _ROUND,
    "round_refused": _ROUND | {"site", "reason"},
    "update_leaving": _ROUND | {"update", "bytes", "steps", "images", "patients"},
    "update_admitted": _ROUND | {"site", "update", "bytes"},
    "update_refused": _ROUND | {"site", "update", "reason"},
    "receipt_accepted": frozenset({"plan", "round", "receipt", "model"}),
    "receipt_refused": frozenset({"plan", "round", "receipt", "reason"}),
    "round_closed": frozenset({"plan", "round", "receipt", "model", "sites"}),
    "released": frozenset({"plan", "round", "model", "document"}),
    # The network.
    "connected": frozenset({"site", "key"}),
    "disconnected": frozenset({"site", "key", "seconds", "reason"}),
    "peer_refused": frozenset({"site", "key", "bytes", "reason"}),
}
"""Every event and the fields it may have; `update_leaving` is written before the first byte leaves."""


@dataclass(frozen=True)
class Record:
    """One line, read back."""

    number: int
    """From 0, since the log was opened."""
    time: str
    """UTC by the machine's clock, to the second; shown, not trusted."""
    event: str
    fields: dict[str, Any]
    previous: str
    """The hash of the record before."""


def encode(head: Head, *, time: str, event: str, fields: Mapping[str, object]) -> tuple[bytes, Head]:
    """The line (with its newline) that follows `head`, and the head after it.

    Raises:
        SecurityError: The event or a field is not on the allow-list; nothing is written then, so nothing is done.
    """
    if found := problems(event, fields, time=time):
        raise SecurityError(found, title="audit log")
    body = {"event": event, "fields": dict(fields), "number": head.length, "previous": head.hash, "time": time}
    digest = _hash(body)
    return canonical({**body, "hash": digest}) + b"\n", Head(head.length + 1, digest)


def decode(line: bytes, head: Head) -> tuple[Record, Head]:
    """A line that must follow `head`, and the head after it; raises SecurityError saying what does not fit."""
    body = parse(line, what="the record", longest=LONGEST)
    digest = body.pop("hash", None)
    if set(body) != {"event", "fields", "number", "previous", "time"} or not isinstance(body["fields"], dict):
        raise SecurityError("it is no record of an audit log")
    if digest != _hash(body):
        raise SecurityError("its content is not what its hash says: it was edited")
    if body["number"] != head.length:
        raise SecurityError(f"it has number {shown(body['number'])}: records were removed, added or moved before it")
    if body["previous"] != head.hash:
        raise SecurityError("it does not follow from the record before it: that one or this one was replaced")
    if found := problems(body["event"], body["fields"], time=body["time"]):
        raise SecurityError(f"it holds what no audit log may hold: {'; '.join(found)}")
    return Record(body["number"], body["time"], body["event"], body["fields"], body["previous"]), Head(
        head.length + 1, str(digest)
    )


def problems(event: object, fields: Mapping[str, object], *, time: object) -> list[str]:
    """What the allow-list has against a record; one sentence each. A value that is refused is not quoted."""
    if not isinstance(event, str) or event not in EVENTS:
        return [f"{shown(event)} is no event; add it to the allow-list in core/security/audit_record.py"]
    found = [f"{event} may have no field {shown(name)}" for name in fields if name not in EVENTS[event]]
    found += [
        f"{event}: the field {name} holds what it may not hold (it is not quoted here)"
        for name, value in fields.items()
        if name in EVENTS[event] and not FIELDS[name](value)
    ]
    if not isinstance(time, str) or not TIME.fullmatch(time):
        found.append(f"{event}: its time is malformed")
    return found


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(DOMAIN + canonical(dict(body))).hexdigest()
