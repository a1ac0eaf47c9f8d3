"""A signed record is about one thing: replayed, swapped or relabelled, it is refused by name."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SecurityError
from core.security.canonical import canonical
from core.security.keys import make_signing_key
from core.security.signing import KINDS, sign, verify

KEY, OTHER = make_signing_key(), make_signing_key()
ABOUT: dict[str, Any] = {
    "study": "heart", "plan": "1" * 64, "round": 3, "site": "north", "base": "2" * 64, "update": "3" * 64,
}  # fmt: skip
HEADS = {"audit": [17, "4" * 64]}
UPDATE = sign("update", {**ABOUT, "heads": HEADS}, KEY)


def read(record: bytes = UPDATE, **changes: object) -> dict[str, Any]:
    return verify(record, kind="update", keys=[KEY.public_key()], expected=ABOUT | changes)


def test_what_was_signed_comes_back() -> None:
    assert read() == {**ABOUT, "heads": HEADS}


def test_the_same_words_give_the_same_bytes() -> None:
    assert sign("update", {"heads": HEADS, **ABOUT}, KEY) == UPDATE


@pytest.mark.parametrize(
    ("name", "value"),
    [("study", "lung"), ("plan", "9" * 64), ("round", 4), ("site", "south"), ("base", "9" * 64), ("update", "9" * 64)],
)
def test_a_record_of_another_round_site_study_plan_base_or_update_is_refused(name: str, value: object) -> None:
    with pytest.raises(SecurityError, match=f"update: signed for {name} .*, but this is {name} .*replayed") as caught:
        read(**{name: value})
    assert len(caught.value.problems) == 1


def test_every_difference_is_listed() -> None:
    with pytest.raises(SecurityError) as caught:
        read(round=4, base="9" * 64)
    assert [problem.split()[3] for problem in caught.value.problems] == ["base", "round"]


def test_a_relabelled_record_does_not_fit_its_signature() -> None:
    for name, value in (("round", 4), ("site", "south"), ("update", "9" * 64), ("heads", {})):
        body = json.loads(UPDATE)
        body["fields"][name] = value
        with pytest.raises(SecurityError, match="the signature is not by a key certified"):
            read(canonical(body), **({} if name == "heads" else {name: value}))


def test_a_record_of_another_kind_is_refused_and_its_signature_cannot_be_moved() -> None:
    fields = {name: ABOUT[name] for name in KINDS["instruction"].bound}
    instruction = sign("instruction", fields, KEY)
    with pytest.raises(SecurityError, match="the record is 'instruction', signed for another purpose"):
        read(instruction)
    moved = json.loads(UPDATE) | {"signature": json.loads(instruction)["signature"]}
    with pytest.raises(SecurityError, match="the signature is not by a key certified"):
        read(canonical(moved))


def test_anothers_signature_is_refused_and_both_keys_count_while_one_is_rotated() -> None:
    def read_with(*keys: Any) -> dict[str, Any]:
        return verify(UPDATE, kind="update", keys=[key.public_key() for key in keys], expected=ABOUT)

    assert read_with(OTHER, KEY) == read_with(KEY, OTHER) == {**ABOUT, "heads": HEADS}
    for keys in ([OTHER], []):  # nobody's: revoked
        with pytest.raises(SecurityError, match="the key was revoked or replaced: compare fingerprints"):
            read_with(*keys)


@given(place=st.integers(0, len(UPDATE) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_survives(place: int, bit: int) -> None:
    record = UPDATE[:place] + bytes([UPDATE[place] ^ (1 << bit)]) + UPDATE[place + 1 :]
    with pytest.raises(SecurityError):
        read(record)


@given(st.binary(max_size=200))
def test_rubbish_is_a_sentence(record: bytes) -> None:
    with pytest.raises(SecurityError, match="update: "):
        read(record)


@pytest.mark.parametrize("signature", [None, "", "00" * 63, "00" * 65, "zz" * 64, 5, "0 " * 64, "AB" * 64])
def test_a_malformed_signature_is_none(signature: object) -> None:
    with pytest.raises(SecurityError, match="carries no signature"):
        read(canonical(json.loads(UPDATE) | {"signature": signature}))


def test_another_schema_or_a_field_more_is_refused() -> None:
    for change in ({"schema_version": 2}, {"more": 1}):
        with pytest.raises(SecurityError, match="not a signed record of schema 1"):
            read(canonical(json.loads(UPDATE) | change))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("site", "../etc"), ("round", -1), ("round", True), ("base", "short"), ("update", "A" * 64), ("study", ""),
        ("heads", {"audit": [1]}), ("heads", {"../x": [1, "4" * 64]}), ("heads", {"audit": [-1, "4" * 64]}),
        ("heads", {f"log{n}": [1, "4" * 64] for n in range(5)}), ("heads", [1]),
    ],
)  # fmt: skip
def test_a_malformed_field_is_not_even_signed(name: str, value: object) -> None:
    with pytest.raises(SecurityError, match=f"update: {name} is "):
        sign("update", {**ABOUT, "heads": HEADS, name: value}, KEY)


def test_fields_are_exactly_those_of_the_kind() -> None:
    for fields in (ABOUT, {**ABOUT, "heads": HEADS, "more": 1}):
        with pytest.raises(SecurityError, match="has exactly the fields base, heads, plan"):
            sign("update", fields, KEY)
    with pytest.raises(SecurityError, match="is no kind of record; known are approval"):
        sign("gossip", ABOUT, KEY)


def test_a_reader_that_does_not_know_what_to_expect_is_refused() -> None:
    for expected in ({}, {name: value for name, value in ABOUT.items() if name != "base"}, ABOUT | {"heads": {}}):
        with pytest.raises(SecurityError, match="the reader must know base, plan, round, site, study, update"):
            verify(UPDATE, kind="update", keys=[KEY.public_key()], expected=expected)


def test_an_oversize_record_is_refused_unread() -> None:
    with pytest.raises(SecurityError, match="more than the 65536 allowed"):
        read(b"{" * 65537)
