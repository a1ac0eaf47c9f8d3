"""A record holds what the allow-list names and nothing else: no patient can slip in."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SecurityError
from core.security.audit_record import EVENTS, FIELDS, NOTHING, REASONS, Head, decode, encode
from core.security.canonical import canonical

TIME = "2026-11-25T12:00:00Z"
GOOD: dict[str, Any] = {"plan": "1" * 64, "round": 3, "base": "2" * 64, "reason": "plan"}


def test_a_record_follows_the_one_before() -> None:
    first, head = encode(NOTHING, time=TIME, event="opened", fields={"study": "heart", "owner": "north"})
    second, after = encode(head, time=TIME, event="round_refused", fields=GOOD)
    assert (NOTHING.length, head.length, after.length) == (0, 1, 2)
    assert decode(first[:-1], NOTHING)[1] == head
    record, found = decode(second[:-1], head)
    assert found == after
    assert (record.number, record.time, record.event, record.fields) == (1, TIME, "round_refused", GOOD)
    assert record.previous == head.hash == json.loads(first)["hash"]


def test_every_event_has_known_fields_only() -> None:
    assert set().union(*EVENTS.values()) == set(FIELDS)


@pytest.mark.parametrize(
    ("event", "fields", "problem"),
    [
        ("gossip", {}, "'gossip' is no event"),
        (5, {}, "5 is no event"),
        ("opened", {"patient": "x"}, "opened may have no field 'patient'"),
        ("round_refused", GOOD | {"reason": "John Smith"}, "the field reason holds what it may not hold"),
        ("round_refused", GOOD | {"base": "/data/smith.png"}, "the field base holds"),
        ("round_refused", GOOD | {"round": -1}, "the field round holds"),
        ("round_refused", GOOD | {"round": "3"}, "the field round holds"),
        ("round_refused", GOOD | {"site": "../x"}, "the field site holds"),
        ("round_refused", GOOD | {"reason": ["plan"]}, "the field reason holds"),
    ],
)
def test_what_is_not_listed_is_not_written(event: Any, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(SecurityError, match=problem):
        encode(NOTHING, time=TIME, event=event, fields=fields)


PLANTED = "Zzyzx Quandary"
"""A patient whom no allow-list can hold."""


@given(
    event=st.sampled_from(sorted(EVENTS)),
    fields=st.dictionaries(
        st.sampled_from(sorted(FIELDS)),
        st.sampled_from([PLANTED, f"plan {PLANTED}", [PLANTED], {"a": PLANTED}, 7, "a" * 64, "north", "plan"]),
        max_size=4,
    ),
)
def test_a_planted_name_reaches_neither_the_log_nor_the_message(event: str, fields: dict[str, Any]) -> None:
    if PLANTED in repr(list(fields.values())):
        with pytest.raises(SecurityError) as caught:
            encode(NOTHING, time=TIME, event=event, fields=fields)
        assert PLANTED not in str(caught.value)


def test_reasons_are_words_of_a_list() -> None:
    assert all(reason.isascii() and reason.replace("_", "").isalpha() for reason in REASONS)


LINE, HEAD = encode(Head(7, "5" * 64), time=TIME, event="round_refused", fields=GOOD)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"fields": GOOD | {"round": 4}}, "its content is not what its hash says: it was edited"),
        ({"time": "2026-11-25T12:00:01Z"}, "it was edited"),
        ({"hash": "0" * 64}, "it was edited"),
        ({"hash": None}, "it was edited"),
        ({"more": 1}, "it is no record"),
        ({"fields": 5}, "it is no record"),
    ],
)
def test_an_edited_record_is_found(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(SecurityError, match=problem):
        decode(canonical(json.loads(LINE) | change), Head(7, "5" * 64))


def test_a_record_in_another_place_is_found() -> None:
    with pytest.raises(SecurityError, match="it has number 7: records were removed, added or moved"):
        decode(LINE[:-1], Head(6, "5" * 64))
    with pytest.raises(SecurityError, match="it does not follow from the record before it"):
        decode(LINE[:-1], Head(7, "6" * 64))


def test_a_record_that_the_allow_list_forbids_is_refused_when_read_too() -> None:
    body: dict[str, Any] = {
        "event": "opened",
        "fields": {"patient": "x"},
        "number": 0,
        "previous": "0" * 64,
        "time": TIME,
    }
    digest = hashlib.sha256(b"usfm audit record 1\x00" + canonical(body)).hexdigest()
    with pytest.raises(SecurityError, match="it holds what no audit log may hold"):
        decode(canonical({**body, "hash": digest}), NOTHING)


@given(st.binary(max_size=200))
def test_rubbish_is_a_sentence(line: bytes) -> None:
    with pytest.raises(SecurityError, match="the record: "):
        decode(line, NOTHING)
