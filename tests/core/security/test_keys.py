"""Private keys stay private; a fingerprint means the same to both who read it aloud."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, uses_nist_ec_curve

from core.errors import SecurityError
from core.security.keys import (
    fingerprint,
    grouped,
    heard,
    key_digest,
    load_node_key,
    load_signing_key,
    load_tls_key,
    make_node_key,
    make_signing_key,
    public_from,
    public_pem,
    write_private,
)


def test_keys_come_back_from_files_that_only_their_owner_may_read(tmp_path: Path) -> None:
    signing, node = make_signing_key(), make_node_key()
    write_private(tmp_path / "new" / "signing.key", signing)
    write_private(tmp_path / "node.key", node, openssh=True)
    write_private(tmp_path / "tls.key", node)
    assert load_signing_key(tmp_path / "new" / "signing.key").private_bytes_raw() == signing.private_bytes_raw()
    assert load_node_key(tmp_path / "node.key").private_numbers() == node.private_numbers()
    assert load_tls_key(tmp_path / "tls.key").private_numbers() == node.private_numbers()
    for path in (tmp_path / "new" / "signing.key", tmp_path / "node.key", tmp_path / "tls.key"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_the_mode_holds_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "k", make_signing_key())
    finally:
        os.umask(before)
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644, 0o777])
def test_a_key_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    write_private(tmp_path / "k", make_signing_key())
    (tmp_path / "k").chmod(mode)
    with pytest.raises(SecurityError, match=rf"k: others may read or change it \(mode {mode:04o}\); run `chmod 600"):
        load_signing_key(tmp_path / "k")


def test_a_key_is_never_overwritten_not_even_through_a_broken_link(tmp_path: Path) -> None:
    write_private(tmp_path / "k", make_signing_key())
    before = (tmp_path / "k").read_bytes()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("k", "link"):
        with pytest.raises(SecurityError, match=f"{name}: there is a file already"):
            write_private(tmp_path / name, make_signing_key())
    assert (tmp_path / "k").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"k", "link"}


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SecurityError, match="cannot be written"):
        write_private(tmp_path / "file" / "k", make_signing_key())


def test_the_wrong_kind_of_key_is_named(tmp_path: Path) -> None:
    write_private(tmp_path / "signing", make_signing_key())
    write_private(tmp_path / "node", make_node_key())
    write_private(tmp_path / "p256", ec.generate_private_key(ec.SECP256R1()), openssh=True)
    with pytest.raises(SecurityError, match="holds no Ed25519 key"):
        load_signing_key(tmp_path / "node")
    with pytest.raises(SecurityError, match="holds no P-384 key"):
        load_tls_key(tmp_path / "signing")
    with pytest.raises(SecurityError, match="not in OpenSSH's format, which Flower's SuperNode needs"):
        load_node_key(tmp_path / "node")
    with pytest.raises(SecurityError, match="holds no P-384 key"):
        load_node_key(tmp_path / "p256")


@pytest.mark.parametrize("content", [b"", b"junk", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", b"x" * 20_000])
def test_a_damaged_key_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k").touch(mode=0o600)
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(SecurityError, match=r"k: (holds no private key|longer than any key)"):
        load_signing_key(tmp_path / "k")


def test_an_encrypted_key_is_a_sentence(tmp_path: Path) -> None:
    form = serialization.BestAvailableEncryption(b"secret")
    content = make_signing_key().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, form)
    (tmp_path / "k").touch(mode=0o600)
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(SecurityError, match="is encrypted; services start without a person"):
        load_signing_key(tmp_path / "k")


def test_a_missing_file_a_folder_and_a_pipe_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, problem in (
        ("none", "cannot be read"),
        ("folder", "no plain file|cannot be read"),
        ("pipe", "no plain file"),
    ):
        with pytest.raises(SecurityError, match=f"{name}: ({problem})"):
            load_signing_key(tmp_path / name)


def test_a_public_key_is_what_flower_registers(tmp_path: Path) -> None:
    key = make_node_key()
    write_private(tmp_path / "k", key, openssh=True)
    assert public_pem(key.public_key()) == public_key_to_bytes(key.public_key())
    assert uses_nist_ec_curve(key.public_key())
    loaded = serialization.load_ssh_private_key((tmp_path / "k").read_bytes(), None)  # as Flower's SuperNode does
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    assert loaded.private_numbers() == key.private_numbers()


def test_a_public_key_comes_back_from_pem() -> None:
    for key in (make_signing_key().public_key(), make_node_key().public_key()):
        found = public_from(public_pem(key).decode(), what="it")
        assert key_digest(found) == key_digest(key)


@pytest.mark.parametrize(
    "pem",
    [
        None, b"", "", "junk", "é" * 5, "x" * 20_000,
        rsa.generate_private_key(65537, 2048).public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
        public_pem(ec.generate_private_key(ec.SECP256R1()).public_key()).decode(),
        public_pem(make_signing_key().public_key()).decode() + "\n",
        "text before\n" + public_pem(make_signing_key().public_key()).decode(),
    ],
)  # fmt: skip
def test_any_other_public_key_is_refused(pem: object) -> None:
    with pytest.raises(SecurityError, match="the peer: "):
        public_from(pem, what="the peer")


def test_a_fingerprint_has_sixteen_groups_of_four_and_is_heard_again() -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    text = fingerprint(key)
    assert [len(group) for group in text.split(" ")] == [4] * 16
    assert heard(text) == heard(text.upper().replace(" ", "-")) == heard(f" {text}\n") == key_digest(key)
    assert grouped("0123456789") == "0123 4567 89"


@pytest.mark.parametrize("text", ["", "abcd", "g" * 64, "a" * 63, "a" * 65])
def test_half_a_fingerprint_is_none(text: str) -> None:
    with pytest.raises(SecurityError, match="is no fingerprint; type all 64"):
        heard(text)
