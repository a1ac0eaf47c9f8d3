"""Private keys that never leave the machine on which they were made, and fingerprints that two people read aloud.

Each hospital has two: an Ed25519 key, which signs what it says, and a P-384 key, with which Flower's node
authentication recognizes it.
"""

import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from core.atomic import write_atomically
from core.errors import SecurityError
from core.security.names import DIGEST, shown

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey

LONGEST = 16 * 1024
"""Bytes of a key's file."""
GROUP = 4
"""Letters of a fingerprint that are read in one breath."""


def make_signing_key() -> ed25519.Ed25519PrivateKey:
    """A new key for signatures, from the operating system's randomness."""
    return ed25519.Ed25519PrivateKey.generate()


def make_node_key() -> ec.EllipticCurvePrivateKey:
    """A new P-384 key: for Flower's node authentication, a TLS server or an authority."""
    return ec.generate_private_key(ec.SECP384R1())


def write_private(path: Path, key: PrivateKey, *, openssh: bool = False) -> None:
    """Write a private key that only its owner may read (mode 0600 from the first byte on).

    Args:
        path: A new file; a key is never overwritten, since what it signed or opened would be lost with it.
        key: The key; it is not encrypted, since services start without a person.
        openssh: OpenSSH's format, which Flower's SuperNode reads; otherwise PKCS #8 in PEM, which TLS reads.

    Raises:
        SecurityError: The file is there already or cannot be written.
    """
    form = serialization.PrivateFormat.OpenSSH if openssh else serialization.PrivateFormat.PKCS8
    content = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    if path.is_symlink() or path.exists():
        raise SecurityError(f"{path}: there is a file already, and keys are never overwritten; move it away first")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, content, mode=0o600)
    except OSError as error:
        raise SecurityError(
            f"{path}: cannot be written ({error.strerror}); free space, or fix the folder's permissions"
        ) from error


def read_private(path: Path) -> bytes:
    """A private file's content; raises SecurityError when others may read it, so that it is secret no more."""
    try:
        # Not blocking: a pipe in a key's place would hold the program for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise SecurityError(f"{path}: no plain file; give the path of a private key")
            if mode & 0o077:
                raise SecurityError(
                    f"{path}: others may read or change it (mode {stat.S_IMODE(mode):04o}); run `chmod 600 {path}`, "
                    "and make a new key if others used this machine meanwhile"
                )
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise SecurityError(f"{path}: cannot be read ({error.strerror}); make the keys with `init` first") from error
    if len(content) > LONGEST:
        raise SecurityError(f"{path}: longer than any key; give the path of a private key")
    return content


def load_signing_key(path: Path) -> ed25519.Ed25519PrivateKey:
    """An Ed25519 key from its file; raises SecurityError."""
    key = _parsed(path, read_private(path))
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise SecurityError(f"{path}: holds no Ed25519 key; signatures need one, made by `init`")
    return key


def load_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A P-384 key from its file in OpenSSH's format, as Flower's SuperNode will read it; raises SecurityError."""
    content = read_private(path)
    if b"OPENSSH" not in content[:64]:
        raise SecurityError(f"{path}: not in OpenSSH's format, which Flower's SuperNode needs; make it with `init`")
    return _on_p384(path, _parsed(path, content))


def load_tls_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A P-384 key from its PEM file: the authority's or the TLS server's; raises SecurityError."""
    return _on_p384(path, _parsed(path, read_private(path)))


def public_pem(key: PublicKey) -> bytes:
    """A public key as PEM, byte for byte what Flower's SuperLink registers for a node."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_der(key: PublicKey) -> bytes:
    """A public key as DER, as a certificate holds it."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_from(pem: object, *, what: str) -> PublicKey:
    """A public key from PEM; raises SecurityError naming `what` unless it is Ed25519 or on P-384."""
    if not isinstance(pem, str) or len(pem) > LONGEST:
        raise SecurityError(f"{what}: no public key in PEM; ask for the file again")
    try:
        key = serialization.load_pem_public_key(pem.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SecurityError(f"{what}: no public key in PEM; ask for the file again") from error
    right = isinstance(key, ed25519.Ed25519PublicKey) or _is_p384(key)
    if not right or public_pem(key).decode() != pem:  # type: ignore[arg-type]  # the first half has told the kind
        raise SecurityError(f"{what}: neither an Ed25519 nor a P-384 key as `init` writes it; make new keys")
    return key  # type: ignore[return-value]  # as above


def key_digest(key: PublicKey) -> str:
    """SHA-256 of the public key's DER, hexadecimal: the key's name in registries and logs."""
    return hashlib.sha256(public_der(key)).hexdigest()


def fingerprint(key: PublicKey) -> str:
    """`key_digest` for reading aloud: sixteen groups of four."""
    return grouped(key_digest(key))


def grouped(digest: str) -> str:
    """A SHA-256 in groups of four, with a blank between: what one reads out and the other compares."""
    return " ".join(digest[start : start + GROUP] for start in range(0, len(digest), GROUP))


def heard(text: str) -> str:
    """A fingerprint as somebody typed it (any case, blanks, colons or dashes) to its digest; raises SecurityError."""
    digest = text.lower().translate(str.maketrans("", "", " :-\t\n"))
    if not DIGEST.fullmatch(digest):
        raise SecurityError(f"{shown(text)} is no fingerprint; type all 64 digits and letters a to f, blanks are free")
    return digest


def _parsed(path: Path, content: bytes) -> object:
    load = serialization.load_ssh_private_key if b"OPENSSH" in content[:64] else serialization.load_pem_private_key
    try:
        return load(content, None)
    except TypeError as error:
        raise SecurityError(f"{path}: is encrypted; services start without a person, so give a plain key") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SecurityError(f"{path}: holds no private key, or a damaged one; restore it or make a new one") from error


def _on_p384(path: Path, key: object) -> ec.EllipticCurvePrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise SecurityError(f"{path}: holds no P-384 key; make one with `init`")
    return key


def _is_p384(key: object) -> bool:
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1)
