"""Receipts at a hospital: signed by the consortium, chained, the same for everybody.

A receipt is one JSON line with, among others, `study, plan, round, previous, model_hash` and `heads`
(`{site: {log: [length, hash]}}`); `previous` is the SHA-256 of the line before. Beside it travels a signed record over
the line's SHA-256. Whoever signs two lines for one round, or a line that does not follow from the one before, has shown
two models to two hospitals and has signed the proof of it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from core.errors import SecurityError
from core.security.audit_proof import Countersigned
from core.security.audit_record import Head
from core.security.names import is_digest, is_whole
from core.security.signing import is_heads, sign, verify

LONGEST = 1024 * 1024
"""Bytes of a receipt's line."""


def line_digest(line: str) -> str:
    """SHA-256 of a receipt's line."""
    return hashlib.sha256(line.encode()).hexdigest()


def sign_receipt(line: str, *, base: str, key: ed25519.Ed25519PrivateKey) -> bytes:
    """The consortium's signed record for a receipt's line; `base` is the digest of the round's first model."""
    receipt = read_receipt(line)
    return sign("receipt", _bound(receipt, line) | {"base": base, "model": receipt["model_hash"]}, key)


def read_receipt(line: str) -> dict[str, Any]:
    """A receipt's fields; raises SecurityError unless it is one canonical line with those that every receipt has."""
    try:
        value = json.loads(line) if len(line) <= LONGEST else None
        again = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise SecurityError("receipt: no JSON; ask the consortium for it again") from error
    if not isinstance(value, dict) or again != line:
        raise SecurityError("receipt: not in canonical form; it was edited, or written by another version")
    right = (
        isinstance(value.get("study"), str)
        and is_digest(value.get("plan"))
        and is_whole(value.get("round"))
        and is_digest(value.get("model_hash"))
        and (value.get("previous") == "" or is_digest(value.get("previous")))
    )
    if not right or not _are_heads(value.get("heads", {})):
        raise SecurityError("receipt: a field is missing or malformed; client and server versions differ")
    return value


def accept_receipt(
    line: str,
    record: bytes,
    *,
    study: str,
    plan: str,
    keys: Iterable[ed25519.Ed25519PublicKey],
    known: Sequence[str] = (),
) -> dict[str, Any]:
    """A receipt's fields, after every check that a hospital can make.

    Args:
        line: As received.
        record: The signed record beside it.
        study: This hospital's study.
        plan: Digest of the plan that it approved.
        keys: The consortium's certified keys.
        known: The lines accepted before, the oldest first.

    Raises:
        SecurityError: The signature does not fit, or the line contradicts one that was accepted before.
    """
    receipt = read_receipt(line)
    expected = _bound(receipt, line) | {"study": study, "plan": plan}
    told = verify(record, kind="receipt", keys=keys, expected=expected)
    if told["model"] != receipt["model_hash"]:
        raise SecurityError(f"receipt of round {receipt['round']}: its line and its signature name different models")
    if (receipt["previous"] == "") != (receipt["round"] == 0):
        raise SecurityError(f"receipt of round {receipt['round']}: only that of round 0 follows none; history was cut")
    _follows(receipt, line, known)
    return receipt


def contradiction(lines: Iterable[str], others: Iterable[str]) -> str:
    """How two hospitals' receipts differ: the first round, as a sentence; empty when all that both have agree."""
    mine = {read_receipt(line)["round"]: line for line in lines}
    for line in others:
        number = read_receipt(line)["round"]
        if mine.get(number, line) != line:
            return (
                f"round {number} has two receipts: {line_digest(mine[number])[:12]} and {line_digest(line)[:12]}; the "
                "consortium showed two results, and signed both: stop, and ask why"
            )
    return ""


def countersigned(lines: Iterable[str], *, site: str, log: str = "audit") -> list[Countersigned]:
    """The heads of one site's log in receipts that were accepted; for `core.security.audit_proof.verify_log`."""
    found = []
    for receipt in map(read_receipt, lines):
        if head := receipt.get("heads", {}).get(site, {}).get(log):
            found.append(Countersigned(round=receipt["round"], head=Head(*head)))
    return found


def _follows(receipt: dict[str, Any], line: str, known: Sequence[str]) -> None:
    """Raise SecurityError when the line contradicts the receipt of this round, the one before or the one after."""
    number, digest = receipt["round"], line_digest(line)
    for earlier in known:
        other = read_receipt(earlier)
        if other["round"] == number and earlier != line:
            raise SecurityError(
                f"receipt of round {number}: another one was signed for this round before "
                f"({line_digest(earlier)[:12]}, now {digest[:12]}); the consortium showed two results: stop, and "
                "compare with another hospital"
            )
        before = other["round"] == number - 1 and receipt["previous"] != line_digest(earlier)
        after = other["round"] == number + 1 and other["previous"] != digest
        if before or after:
            raise SecurityError(
                f"receipt of round {number}: does not fit that of round {other['round']}, accepted here before; the "
                "consortium rewrote its history: stop, and compare with another hospital"
            )


def _bound(receipt: dict[str, Any], line: str) -> dict[str, Any]:
    return {name: receipt[name] for name in ("study", "plan", "round")} | {"receipt": line_digest(line)}


def _are_heads(value: object) -> bool:
    return isinstance(value, dict) and all(is_heads(logs) for logs in value.values())
