"""Signed records: who said what, about which round of which study.

A record is one canonical JSON document with its kind, its fields and an Ed25519 signature over kind and fields. The
reader gives what the record must be about from its own knowledge, never from the message, so that a record that was
replayed, moved to another round, site or study, or put beside another update is refused by name. The kind is signed
too: an approval cannot pass for an update.

The signature scheme is Ed25519 (Josefsson and Liusvaara, RFC 8032).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from core.errors import SecurityError
from core.security.canonical import canonical, parse
from core.security.names import is_digest, is_name, is_whole, shown

SCHEMA_VERSION = 1
DOMAIN = b"usfm signed record 1\x00"
"""Begins what is signed, so that no signature for another purpose fits."""
SIGNATURE_BYTES = 64
MOST_HEADS = 4
"""Logs of one site whose heads an update carries."""

Check = Callable[[object], bool]


def is_heads(value: object) -> bool:
    """Whether this is `{log: [length, hash]}`, the heads of a site's logs."""
    return (
        isinstance(value, dict)
        and len(value) <= MOST_HEADS
        and all(is_name(log) and _is_head(head) for log, head in value.items())
    )


def _is_head(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and is_whole(value[0]) and is_digest(value[1])


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


@dataclass(frozen=True)
class Kind:
    """What a record of one kind holds."""

    bound: Mapping[str, Check]
    """Fields that the reader must know beforehand."""
    told: Mapping[str, Check]
    """Fields that the reader learns from the record."""


_ROUND: dict[str, Check] = {"study": is_name, "plan": is_digest, "round": is_whole}
KINDS: dict[str, Kind] = {
    "update": Kind({**_ROUND, "site": is_name, "base": is_digest, "update": is_digest}, {"heads": is_heads}),
    "instruction": Kind({**_ROUND, "site": is_name, "base": is_digest}, {}),
    "receipt": Kind({**_ROUND, "receipt": is_digest}, {"base": is_digest, "model": is_digest}),
    "approval": Kind({"study": is_name, "site": is_name, "plan": is_digest}, {"approved": _is_flag}),
    "export": Kind({"study": is_name, "site": is_name}, {"length": is_whole, "hash": is_digest, "log": is_digest}),
}
"""`update`: a site's, with the digest of its arrays. `instruction`: the consortium's to one site. `receipt`: the
consortium's to every site, with the SHA-256 of the receipt's line. `approval`: a site's word on a plan. `export`: a
site's on the audit log that it hands over."""


def sign(kind: str, fields: Mapping[str, Any], key: ed25519.Ed25519PrivateKey) -> bytes:
    """A signed record, at most a few kB of ASCII; the same input gives the same bytes.

    Raises:
        SecurityError: The kind is unknown, or a field is missing, unknown or malformed.
    """
    _check(kind, fields)
    body = {"fields": dict(fields), "kind": kind, "schema_version": SCHEMA_VERSION}
    return canonical({**body, "signature": key.sign(_signed(kind, body)).hex()})


def verify(
    record: bytes, *, kind: str, keys: Iterable[ed25519.Ed25519PublicKey], expected: Mapping[str, Any]
) -> dict[str, Any]:
    """All fields of a record that one of `keys` signed and that is about what the reader expects.

    Args:
        record: What `sign` gave, from somewhere hostile.
        kind: One of `KINDS`.
        keys: Keys that are good for the sender now: two while a key is being rotated, none for a revoked site.
        expected: A value for each field that the kind binds, from the reader's own knowledge.

    Raises:
        SecurityError: With every field that differs, and what the record says instead.
    """
    if kind not in KINDS or set(expected) != set(KINDS[kind].bound):
        raise SecurityError(f"{kind}: the reader must know {', '.join(sorted(KINDS[kind].bound))} to check one")
    body = parse(record, what=kind)
    signature = _signature(body.pop("signature", None), kind)
    if set(body) != {"fields", "kind", "schema_version"} or body["schema_version"] != SCHEMA_VERSION:
        raise SecurityError(f"{kind}: not a signed record of schema {SCHEMA_VERSION}; upgrade the older side")
    if body["kind"] != kind:
        raise SecurityError(f"{kind}: the record is {shown(body['kind'])}, signed for another purpose; it is refused")
    if not any(_fits(key, signature, _signed(kind, body)) for key in keys):
        raise SecurityError(
            f"{kind}: the signature is not by a key certified for its sender now; it was altered, comes from somebody "
            "else, or the key was revoked or replaced: compare fingerprints with the sender"
        )
    fields = body["fields"]
    _check(kind, fields)
    differing = [name for name in sorted(expected) if fields[name] != expected[name]]
    if differing:
        raise SecurityError(
            [
                f"{kind}: signed for {name} {shown(fields[name])}, but this is {name} {shown(expected[name])}; a "
                "replayed, swapped or relabelled message is refused"
                for name in differing
            ]
        )
    return dict(fields)


def _check(kind: str, fields: object) -> None:
    if kind not in KINDS:
        raise SecurityError(f"{shown(kind)} is no kind of record; known are {', '.join(sorted(KINDS))}")
    checks = {**KINDS[kind].bound, **KINDS[kind].told}
    if not isinstance(fields, Mapping) or set(fields) != set(checks):
        raise SecurityError(f"{kind}: a record has exactly the fields {', '.join(sorted(checks))}")
    if found := [name for name, check in checks.items() if not check(fields[name])]:
        raise SecurityError([f"{kind}: {name} is {shown(fields[name])}, which is malformed" for name in found])


def _signed(kind: str, body: Mapping[str, Any]) -> bytes:
    return DOMAIN + kind.encode() + b"\x00" + canonical(dict(body))


def _signature(text: object, kind: str) -> bytes:
    try:
        signature = bytes.fromhex(text) if isinstance(text, str) and text.isalnum() else b""
    except ValueError:
        signature = b""
    if len(signature) != SIGNATURE_BYTES or signature.hex() != text:
        raise SecurityError(f"{kind}: carries no signature; the sender must sign it (older versions did not)")
    return signature


def _fits(key: ed25519.Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True
