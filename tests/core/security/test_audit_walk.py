"""The chain is followed line by line; only a torn end is forgiven."""

from core.security.audit_record import NOTHING, Head, encode
from core.security.audit_walk import Walk

TIME = "2026-11-25T12:00:00Z"


def log(count: int) -> tuple[list[bytes], list[Head]]:
    """Lines of a log and the heads before and after each."""
    lines, heads = [], [NOTHING]
    for number in range(count):
        event = ("opened", {"study": "heart", "owner": "north"}) if number == 0 else ("mended", {"bytes": number})
        line, head = encode(heads[-1], time=TIME, event=event[0], fields=event[1])
        lines.append(line)
        heads.append(head)
    return lines, heads


def test_a_whole_log_is_followed_to_its_head() -> None:
    lines, heads = log(4)
    walk = Walk()
    assert walk.follow(b"".join(lines)) == ""
    assert (walk.first, walk.head, walk.size) == (NOTHING, heads[4], sum(map(len, lines)))
    assert walk.hashes == {head.length: head.hash for head in heads}
    assert walk.names == {"study": "heart", "owner": "north"}


def test_a_walk_goes_on_where_it_stopped() -> None:
    lines, heads = log(4)
    walk = Walk()
    assert walk.follow(b"".join(lines[:2])) == ""
    assert walk.follow(b"".join(lines[2:])) == ""
    assert walk.head == heads[4]


def test_a_torn_end_is_left_alone_and_so_is_what_a_power_cut_left() -> None:
    lines, heads = log(3)
    whole = b"".join(lines[:2])
    for tail in (lines[2][:-1], lines[2][:1], b"\x00" * 50, b"\x00" * 50 + b"\n", lines[2][:9] + b"\x00" * 9 + b"\n"):
        walk = Walk()
        assert walk.follow(whole + tail) == ""
        assert (walk.head, walk.size) == (heads[2], len(whole))


def test_a_bad_line_in_the_middle_is_a_problem_and_ends_the_walk() -> None:
    lines, heads = log(4)
    for bad in (b"\n", b"\x00\n", b"junk\n", lines[0], lines[3]):
        walk = Walk()
        assert walk.follow(b"".join([*lines[:2], bad, lines[2]])) != ""
        assert walk.head == heads[2]


def test_a_log_that_begins_late_must_say_that_it_was_pruned() -> None:
    lines, heads = log(4)
    walk = Walk()
    assert walk.follow(b"".join(lines[2:])) == ""
    assert walk.first == heads[2]
    assert walk.start_problem() == "records 0 to 1 are missing, and the log does not say that they were pruned"
    for length, digest in ((2, heads[2].hash), (1, heads[1].hash), (2, "9" * 64)):
        note = {"study": "heart", "owner": "north", "length": length, "hash": digest, "days": 365}
        pruned, _ = encode(heads[4], time=TIME, event="pruned", fields=note)
        other = Walk()
        assert other.follow(b"".join([*lines[2:], pruned])) == ""
        assert (other.start_problem() == "") == ((length, digest) == heads[2])


def test_a_first_record_that_lies_about_its_number_is_record_0() -> None:
    lines, _ = log(2)
    walk = Walk()
    assert "it was edited" in walk.follow(lines[0].replace(b'"number":0', b'"number":1') + lines[1])
    assert (walk.first, walk.head) == (NOTHING, NOTHING)


def test_a_second_opening_or_another_owner_is_a_problem() -> None:
    lines, heads = log(1)
    again, _ = encode(heads[1], time=TIME, event="opened", fields={"study": "heart", "owner": "north"})
    assert "opened by its record 0 and by no other" in Walk().follow(lines[0] + again)
    unopened, _ = encode(NOTHING, time=TIME, event="mended", fields={"bytes": 1})
    walk = Walk()
    assert "opened by its record 0 and by no other" in walk.follow(unopened)
    assert walk.head == NOTHING
    note = {"study": "heart", "owner": "south", "length": 0, "hash": "0" * 64, "days": 365}
    foreign, _ = encode(heads[1], time=TIME, event="pruned", fields=note)
    assert "another study or owner" in Walk().follow(lines[0] + foreign)
