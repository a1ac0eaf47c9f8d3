"""A hospital's request to be certified: a document with its name and public keys, signed by both private keys.

It holds no secret and may travel in a mail. What makes it trustworthy is its fingerprint, which the hospital reads out
and the consortium compares by telephone (as FeTS did); the two signatures show that whoever made it holds both keys, so
nobody can have a stranger's key certified under his own name. A renewal is signed by the present key too.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from core.errors import SecurityError
from core.security.canonical import canonical, parse
from core.security.keys import grouped, public_from, public_pem
from core.security.names import check_name, is_whole

SCHEMA_VERSION = 1
DOMAIN = b"usfm certificate request 1\x00"
KIND = "certificate request"
_BODY = {"kind", "schema_version", "study", "site", "signing_key", "node_key", "made"}
_PROOFS = {"signing": "signing key", "node": "node key"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request whose proofs of possession hold. Whether it is the hospital's, a person must find out."""

    study: str
    site: str
    signing_key: ed25519.Ed25519PublicKey
    node_key: ec.EllipticCurvePublicKey
    made: int
    """Seconds since 1970, by the hospital's clock; shown, not trusted."""
    digest: str
    """SHA-256 of study, site, both keys and `made`."""
    document: bytes
    """What travels."""

    @property
    def fingerprint(self) -> str:
        """The digest in sixteen groups of four, for reading aloud."""
        return grouped(self.digest)

    def endorsed_by(self, key: ed25519.Ed25519PublicKey) -> bool:
        """Whether the holder of this key, the site's present one, signed the request: then nobody need telephone."""
        try:
            proof = parse(self.document, what=KIND)["proofs"].get("present", "")
            key.verify(bytes.fromhex(proof), DOMAIN + canonical(_body(self)))
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True


def make_request(
    *,
    study: str,
    site: str,
    signing_key: ed25519.Ed25519PrivateKey,
    node_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    present: ed25519.Ed25519PrivateKey | None = None,
) -> Request:
    """A request for a certificate over both keys.

    Args:
        study: The study to join.
        site: The hospital's name in it.
        signing_key: Its signing key; only the public half travels.
        node_key: Its node key; likewise.
        now: The present, UTC.
        present: For a renewal, the signing key that is certified now.

    Raises:
        SecurityError: A name is malformed.
    """
    body = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "study": check_name(study, what="study"),
        "site": check_name(site, what="site"),
        "signing_key": public_pem(signing_key.public_key()).decode(),
        "node_key": public_pem(node_key.public_key()).decode(),
        "made": int(now.timestamp()),
    }
    content = DOMAIN + canonical(body)
    proofs = {
        "signing": signing_key.sign(content).hex(),
        "node": node_key.sign(content, ec.ECDSA(hashes.SHA384())).hex(),
    }
    if present is not None:
        proofs["present"] = present.sign(content).hex()
    return read_request(canonical({**body, "proofs": proofs}))


def read_request(document: bytes) -> Request:
    """A request from the file that a hospital sent.

    Raises:
        SecurityError: It is malformed, or one of its keys did not sign it.
    """
    value = parse(document.strip(), what=KIND)
    proofs = value.pop("proofs", None)
    if value.get("kind") != KIND or value.get("schema_version") != SCHEMA_VERSION or set(value) != _BODY:
        raise SecurityError(f"{KIND}: not one of schema {SCHEMA_VERSION}; make it anew with `usfm-client enroll`")
    signing, node = (public_from(value[name], what=f"{KIND}, {name}") for name in ("signing_key", "node_key"))
    if not isinstance(signing, ed25519.Ed25519PublicKey) or not isinstance(node, ec.EllipticCurvePublicKey):
        raise SecurityError(
            f"{KIND}: signing key must be Ed25519 and node key P-384; make it with `usfm-client enroll`"
        )
    if not is_whole(value["made"]):
        raise SecurityError(f"{KIND}: the time at which it was made is malformed; make it anew")
    content = canonical(value)
    _check_proofs(proofs, DOMAIN + content, signing, node)
    return Request(
        study=check_name(value["study"], what=f"{KIND}, study"),
        site=check_name(value["site"], what=f"{KIND}, site"),
        signing_key=signing,
        node_key=node,
        made=value["made"],
        digest=hashlib.sha256(DOMAIN + content).hexdigest(),
        document=document.strip(),
    )


def _check_proofs(
    proofs: object, content: bytes, signing: ed25519.Ed25519PublicKey, node: ec.EllipticCurvePublicKey
) -> None:
    """Both keys signed the content; raises SecurityError naming each that did not."""
    if not isinstance(proofs, dict) or not set(_PROOFS) <= set(proofs) <= {*_PROOFS, "present"}:
        raise SecurityError(f"{KIND}: proofs of possession are missing; make it anew with `usfm-client enroll`")
    found = []
    for name, words in _PROOFS.items():
        try:
            proof = bytes.fromhex(proofs[name])
            if name == "signing":
                signing.verify(proof, content)
            else:
                node.verify(proof, content, ec.ECDSA(hashes.SHA384()))
        except (InvalidSignature, ValueError, TypeError):
            found.append(f"{KIND}: its {words} did not sign it: it was altered, or its maker lacks the private key")
    if found:
        raise SecurityError(found)


def _body(request: Request) -> dict[str, Any]:
    """What was signed, from the document itself."""
    value = parse(request.document, what=KIND)
    del value["proofs"]
    return value
