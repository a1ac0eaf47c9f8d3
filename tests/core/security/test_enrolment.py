"""A request shows that its maker holds both keys; whose it is, two people find out by its fingerprint."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SecurityError
from core.security.canonical import canonical
from core.security.enrolment import make_request, read_request
from core.security.keys import heard, key_digest, make_node_key, make_signing_key, public_pem

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SIGNING, NODE = make_signing_key(), make_node_key()
REQUEST = make_request(study="heart", site="north", signing_key=SIGNING, node_key=NODE, now=NOW)


def changed(**fields: Any) -> bytes:
    return canonical(json.loads(REQUEST.document) | fields)


def test_a_request_comes_back_with_both_keys_and_the_same_fingerprint() -> None:
    found = read_request(REQUEST.document + b"\n")
    assert (found.study, found.site, found.made) == ("heart", "north", int(NOW.timestamp()))
    assert key_digest(found.signing_key) == key_digest(SIGNING.public_key())
    assert key_digest(found.node_key) == key_digest(NODE.public_key())
    assert found.fingerprint == REQUEST.fingerprint
    assert heard(found.fingerprint) == found.digest


def test_no_private_key_is_in_it() -> None:
    assert SIGNING.private_bytes_raw().hex().encode() not in REQUEST.document
    assert b"PRIVATE" not in REQUEST.document
    assert f"{NODE.private_numbers().private_value:x}".encode() not in REQUEST.document


def test_the_fingerprint_covers_name_study_and_both_keys(north: Any, south: Any) -> None:
    prints = {REQUEST.fingerprint, north.request().fingerprint, north.request("lung").fingerprint}
    prints.add(make_request(study="heart", site="north", signing_key=SIGNING, node_key=north.node, now=NOW).fingerprint)
    prints.add(make_request(study="heart", site="south", signing_key=SIGNING, node_key=NODE, now=NOW).fingerprint)
    assert len(prints) == 5


@pytest.mark.parametrize("fields", [{"site": "south"}, {"study": "lung"}, {"made": 5}])
def test_an_altered_request_fits_neither_key(fields: dict[str, Any]) -> None:
    with pytest.raises(SecurityError) as caught:
        read_request(changed(**fields))
    assert [problem.split(":")[1] for problem in caught.value.problems] == [
        " its signing key did not sign it",
        " its node key did not sign it",
    ]


def test_a_strangers_key_cannot_be_put_into_ones_own_request(south: Any) -> None:
    stolen = public_pem(south.node.public_key()).decode()
    with pytest.raises(SecurityError, match="its node key did not sign it"):
        read_request(changed(node_key=stolen))
    with pytest.raises(SecurityError, match="its signing key did not sign it"):
        read_request(changed(signing_key=public_pem(south.signing.public_key()).decode()))


@pytest.mark.parametrize(
    "document",
    [
        b"", b"{}", b"junk", canonical({"kind": "certificate request"}), changed(proofs={}), changed(proofs=None),
        changed(proofs={"signing": 1, "node": None}), changed(proofs={"signing": "zz", "node": "zz"}),
        changed(schema_version=2), changed(kind="update"), changed(more=1), changed(made=-1), changed(made="now"),
        changed(signing_key=public_pem(NODE.public_key()).decode()), changed(node_key=5),
        changed(node_key=public_pem(SIGNING.public_key()).decode()),
        changed(node_key=public_pem(ec.generate_private_key(ec.SECP256R1()).public_key()).decode()),
    ],
)  # fmt: skip
def test_anything_else_is_a_sentence(document: bytes) -> None:
    with pytest.raises(SecurityError, match="certificate request"):
        read_request(document)


@given(st.binary(max_size=300))
def test_rubbish_is_a_sentence(document: bytes) -> None:
    with pytest.raises(SecurityError):
        read_request(document)


@pytest.mark.parametrize(("study", "site"), [("heart", "../x"), ("heart", ""), ("a/b", "north")])
def test_a_name_that_would_be_a_path_is_refused(study: str, site: str) -> None:
    with pytest.raises(SecurityError, match="is no name"):
        make_request(study=study, site=site, signing_key=SIGNING, node_key=NODE, now=NOW)


def test_a_path_in_a_signed_request_is_refused() -> None:
    value = json.loads(REQUEST.document) | {"site": "../../etc"}
    del value["proofs"]
    content = b"usfm certificate request 1\x00" + canonical(value)
    proofs = {"signing": SIGNING.sign(content).hex(), "node": NODE.sign(content, ec.ECDSA(hashes.SHA384())).hex()}
    with pytest.raises(SecurityError, match=r"request, site: '\.\./\.\./etc' is no name"):
        read_request(canonical({**value, "proofs": proofs}))


def test_a_renewal_is_signed_by_the_present_key_too(north: Any, fresh: Any, south: Any) -> None:
    renewal = fresh.request(present=north.signing)
    assert renewal.endorsed_by(north.signing.public_key())
    assert not renewal.endorsed_by(south.signing.public_key())
    assert not fresh.request().endorsed_by(north.signing.public_key())


def test_an_endorsement_of_another_request_does_not_count(north: Any, fresh: Any) -> None:
    stolen = json.loads(fresh.request(present=north.signing).document)["proofs"]["present"]
    for present in (stolen, 5, "zz"):
        document = json.loads(REQUEST.document)
        document["proofs"]["present"] = present
        assert not read_request(canonical(document)).endorsed_by(north.signing.public_key())
