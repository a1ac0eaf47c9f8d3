"""A document has one form, so a signature has one meaning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SecurityError
from core.security.canonical import DEEPEST, canonical, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def depth(value: object) -> int:
    """Lists and objects inside each other."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def test_keys_are_sorted_blanks_are_left_out_and_all_is_ascii() -> None:
    assert canonical({"b": [1, True, None], "a": "é"}) == b'{"a":"\\u00e9","b":[1,true,null]}'


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=3))
def test_what_was_written_reads_back_or_is_too_deep(value: dict[str, object]) -> None:
    if depth(value) > DEEPEST:
        with pytest.raises(SecurityError, match="more than 6 levels"):
            canonical(value)
    else:
        assert parse(canonical(value), what="it") == value


@pytest.mark.parametrize("value", [0.5, float("nan"), {"a": 1.0}, [b"x"], {1: 2}, {"a": {"b": object()}}])
def test_what_has_no_single_form_is_refused(value: object) -> None:
    with pytest.raises(SecurityError, match="no canonical form"):
        canonical(value)


@pytest.mark.parametrize(
    "document",
    [
        b'{"b":1,"a":2}',  # another order
        b'{"a": 1}',  # a blank
        b'{"a":1,"a":1}',  # twice
        b'{"a":1}\n',
        b'{"a":1.0}',
        b'{"a":1e400}',
        b'{"a":NaN}',
        b'{"a":"\xc3\xa9"}',
        b'{"a":"\\/"}',  # another escape
        b"[1]",
        b"1",
        b"",
        b"\xff\xfe",
        b"{" * 100_000,
        b'{"a":' + b"[" * 60_000,
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":[[[[[[1]]]]]]}',
    ],
)
def test_any_other_form_is_refused(document: bytes) -> None:
    with pytest.raises(SecurityError, match="the note: "):
        parse(document, what="the note", longest=10**6)


def test_a_long_document_is_refused_unread() -> None:
    with pytest.raises(SecurityError, match="the note: 65537 bytes, more than the 65536 allowed"):
        parse(b"x" * 65537, what="the note")
