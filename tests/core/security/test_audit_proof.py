"""An edit, a removal, a cut and a restored disk are named; what nobody vouches for is said to be unprovable."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SecurityError
from core.security.audit import AuditLog
from core.security.audit_proof import Countersigned, export, read_export, verify_content, verify_log
from core.security.audit_record import NOTHING, Head, decode, encode
from core.security.canonical import canonical

TIME = "2026-11-25T12:00:00Z"


def written(count: int, *, last: int = 0) -> tuple[list[bytes], list[Head]]:
    """A log of `count` records and its heads by length; `last` tells one history from another."""
    lines, heads = [], [NOTHING]
    for number in range(count):
        event, fields = ("opened", {"study": "heart", "owner": "north"}) if number == 0 else (
            "started", {"round": number + (last if number > 2 else 0)})  # fmt: skip
        line, head = encode(heads[-1], time=TIME, event=event, fields=fields)
        lines.append(line)
        heads.append(head)
    return lines, heads


LINES, HEADS = written(6)
RECEIPTS = [Countersigned(round=0, head=HEADS[2]), Countersigned(round=1, head=HEADS[4])]


def verdict(lines: list[bytes], heads: list[Countersigned] = RECEIPTS) -> Any:
    return verify_content(b"".join(lines), heads=heads)


def test_a_whole_log_is_intact_and_its_end_unprovable() -> None:
    found = verdict(LINES)
    assert (found.intact, found.first, found.head, found.unprovable, found.torn) == (True, 0, HEADS[6], 2, 0)
    assert str(found) == (
        "records 0 to 5 are chained; records from 4 on are unprovable: no receipt countersigns them yet"
    )
    assert verdict(LINES, []).unprovable == 6
    assert str(verdict(LINES, [Countersigned(round=2, head=HEADS[6])])) == "records 0 to 5 are chained"


@pytest.mark.parametrize("number", range(6))
def test_an_edited_record_is_the_first_bad_one(number: int) -> None:
    edited = [*LINES]
    edited[number] = LINES[number].replace(b"12:00:00", b"13:00:00")
    found = verdict(edited)
    assert (found.bad, "it was edited" in found.problem) == (number, True)
    assert str(found).startswith(f"record {number} is the first bad one: its content is not what its hash says")


@pytest.mark.parametrize("number", range(5))
def test_a_removed_record_is_the_first_bad_one(number: int) -> None:
    found = verdict(LINES[:number] + LINES[number + 1 :])
    assert found.bad == number
    assert ("missing" if number == 0 else "records were removed") in found.problem


def test_an_added_or_moved_record_is_found() -> None:
    assert verdict([*LINES[:3], LINES[2], *LINES[3:]]).bad == 3
    assert verdict([*LINES[:2], LINES[3], LINES[2], *LINES[4:]]).bad == 2


@pytest.mark.parametrize("length", range(4))
def test_a_cut_below_a_countersigned_head_is_named_by_its_receipt(length: int) -> None:
    found = verdict(LINES[:length])
    round_ = 0 if length < 2 else 1
    assert found.bad == length
    assert f"the receipt of round {round_} countersigns {2 if length < 2 else 4} records" in found.problem
    assert f"ends after {length}: its end was cut off, or an older disk was restored" in found.problem


@pytest.mark.parametrize("length", [4, 5])
def test_a_cut_above_it_cannot_be_seen_which_is_why_it_is_called_unprovable(length: int) -> None:
    found = verdict(LINES[:length])
    assert (found.intact, found.unprovable) == (True, length - 4)


def test_an_older_disk_that_goes_on_is_named() -> None:
    other, _ = written(9, last=50)  # the same up to record 2, then another history, all of it chained
    assert verdict(other, []).intact
    found = verdict(other)
    assert found.bad == 2
    assert "one of the records 2 to 3 is not what the receipt of round 1 countersigns" in found.problem
    assert "an older disk that was restored" in found.problem
    assert found.unprovable == 7


def test_a_log_written_anew_from_its_first_record_is_named() -> None:
    forged: list[bytes] = []
    head = NOTHING
    for number, line in enumerate(LINES):
        record, _ = decode(line[:-1], HEADS[number])
        anew, head = encode(head, time="2026-11-25T13:00:00Z", event=record.event, fields=record.fields)
        forged.append(anew)
    found = verdict(forged)
    assert (found.bad, "one of the records 0 to 1" in found.problem) == (0, True)


def test_an_earlier_lie_counts_before_a_later_break() -> None:
    other, _ = written(6, last=50)
    other[5] = other[5].replace(b"12:00:00", b"13:00:00")
    assert verdict(other).bad == 2


def test_receipts_that_contradict_each_other_are_named() -> None:
    lie = Countersigned(round=7, head=Head(4, "9" * 64))
    assert "the receipt of round 7" in verdict(LINES, [*RECEIPTS, lie]).problem


def test_a_torn_tail_is_no_tampering_but_a_torn_countersigned_record_is_missing() -> None:
    found = verdict([*LINES[:5], LINES[5][:9]])
    assert (found.intact, found.torn, found.head) == (True, 9, HEADS[5])
    assert "the last 9 bytes are a line torn by a kill; the next start mends it" in str(found)
    assert verdict([*LINES[:3], LINES[3][:9]]).bad == 3


@given(place=st.integers(0, sum(map(len, LINES)) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_below_the_last_countersigned_head_goes_unseen(place: int, bit: int) -> None:
    content = b"".join(LINES)
    flipped = content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]
    number = content[:place].count(b"\n")
    found = verify_content(flipped, heads=[Countersigned(round=2, head=HEADS[6])])
    assert found.bad == number


@given(st.binary(max_size=300))
def test_rubbish_has_a_verdict(content: bytes) -> None:
    found = verify_content(content, heads=RECEIPTS)
    assert not found.intact


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match="none: cannot be read"):
        verify_log(tmp_path / "none")


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    now = datetime(2026, 11, 25, tzinfo=UTC)
    log = AuditLog(tmp_path / "audit.jsonl", study="heart", owner="north", clock=lambda: now)
    log.append("started", round=0)
    return log


def test_an_export_is_the_whole_log_under_the_sites_signature(log: AuditLog, north: Any) -> None:
    with log.path.open("ab") as file:
        file.write(b'{"torn')
    document = export(log.path, study="heart", site="north", key=north.signing)
    keys = [north.signing.public_key()]
    content, found = read_export(document, study="heart", site="north", keys=keys)
    assert content + b'{"torn' == log.path.read_bytes()
    assert (found.intact, found.head, found.torn) == (True, Head(2, found.head.hash), 0)


def test_an_export_by_somebody_else_or_altered_or_of_another_site_is_refused(
    log: AuditLog, north: Any, south: Any
) -> None:
    document = export(log.path, study="heart", site="north", key=north.signing)
    keys = [north.signing.public_key()]
    value = json.loads(document)
    value["log"] = value["log"].splitlines(keepends=True)[0]
    with pytest.raises(SecurityError, match="the log inside is not the one that was signed"):
        read_export(canonical(value), study="heart", site="north", keys=keys)
    with pytest.raises(SecurityError, match="export: signed for site 'north', but this is site 'south'"):
        read_export(document, study="heart", site="south", keys=keys)
    with pytest.raises(SecurityError, match="export: the signature is not by a key certified"):
        read_export(document, study="heart", site="north", keys=[south.signing.public_key()])
    for other in (b"{}", b"junk", canonical({"kind": "audit export", "log": 5, "seal": ""})):
        with pytest.raises(SecurityError, match="audit export: "):
            read_export(other, study="heart", site="north", keys=keys)


def test_a_broken_log_is_not_signed(log: AuditLog, north: Any) -> None:
    log.path.write_bytes(log.path.read_bytes().replace(b'"round":0', b'"round":1'))
    with pytest.raises(SecurityError, match=r"record 1 is the first bad one.*a broken log is not signed"):
        export(log.path, study="heart", site="north", key=north.signing)
