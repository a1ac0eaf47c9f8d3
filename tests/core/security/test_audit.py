"""The log is on the disk before the act, survives kills and full disks, and refuses to go on when it was touched."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from core.errors import ConfigError, SecurityError
from core.security.audit import AuditLog
from core.security.audit_proof import verify_log
from core.security.audit_record import NOTHING, Head

START = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def open_log(folder: Path, *, owner: str = "north", clock: Callable[[], datetime] = lambda: START) -> AuditLog:
    return AuditLog(folder / "audit.jsonl", study="heart", owner=owner, clock=clock)


def lines(folder: Path) -> list[bytes]:
    return (folder / "audit.jsonl").read_bytes().splitlines(keepends=True)


def events(folder: Path) -> list[str]:
    return [json.loads(line)["event"] for line in lines(folder)]


def test_a_record_is_there_when_append_returns(tmp_path: Path) -> None:
    log = open_log(tmp_path / "new")
    head = log.append("started", plan="1" * 64, round=0)
    assert head == log.head() == verify_log(log.path).head
    assert head.length == 2
    assert events(tmp_path / "new") == ["opened", "started"]
    assert json.loads(lines(tmp_path / "new")[1])["time"] == "2026-11-25T12:00:00Z"
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_a_log_goes_on_after_a_restart(tmp_path: Path) -> None:
    first = open_log(tmp_path).append("started", round=0)
    log = open_log(tmp_path)
    assert log.head() == first
    log.append("stopped", reason="signal")
    assert events(tmp_path) == ["opened", "started", "stopped"]
    assert verify_log(log.path).intact


def test_what_the_allow_list_forbids_is_not_written(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for fields in ({"patient": "x"}, {"round": "Smith"}):
        with pytest.raises(SecurityError, match="audit log: started"):
            log.append("started", **fields)
    assert events(tmp_path) == ["opened"]


def test_a_line_cut_at_any_byte_is_mended_and_noted(tmp_path: Path) -> None:
    head = open_log(tmp_path).append("started", round=0)
    open_log(tmp_path).append("stopped", reason="signal")
    whole = lines(tmp_path)
    before = whole[0] + whole[1]
    for length in range(1, len(whole[2]), 7):
        (tmp_path / "audit.jsonl").write_bytes(before + whole[2][:length])
        log = open_log(tmp_path)
        assert events(tmp_path) == ["opened", "started", "mended"]
        assert json.loads(lines(tmp_path)[2])["fields"] == {"bytes": length}
        assert (verify_log(log.path).head, log.head().length) == (log.head(), head.length + 1)


def test_a_log_whose_first_line_is_torn_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_bytes(b'{"event":"ope')
    open_log(tmp_path)
    assert events(tmp_path) == ["opened", "mended"]


KILLED = (
    "import os, signal, sys; from pathlib import Path; from core.security.audit import AuditLog\n"
    "log = AuditLog(Path(sys.argv[1]), study='heart', owner='north')\n"
    "for number in range(5): log.append('started', round=number)\n"
    "os.kill(os.getpid(), signal.SIGKILL)"
)


def test_what_was_appended_before_a_kill_is_there(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "audit.jsonl")])
    assert done.returncode == -9
    assert open_log(tmp_path).head().length == 6
    assert events(tmp_path) == ["opened", *["started"] * 5]


def test_a_full_disk_fails_closed_and_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    before = lines(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before[0]) + 20, limits[1]))
    try:
        with pytest.raises(SecurityError, match=r"the audit log cannot be written .* so nothing was done; free space"):
            log.append("started", round=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert lines(tmp_path) == before
    log.append("started", round=0)
    assert verify_log(log.path).intact


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SecurityError, match="cannot be made"):
        open_log(tmp_path / "file")


def test_a_link_a_pipe_or_a_folder_in_the_logs_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    for name, make in (
        ("link", lambda path: path.symlink_to(tmp_path / "elsewhere")),
        ("pipe", os.mkfifo),
        ("folder", Path.mkdir),
    ):
        (tmp_path / name).mkdir()
        make(tmp_path / name / "audit.jsonl")
        with pytest.raises(SecurityError, match=r"cannot be written|no plain file"):
            open_log(tmp_path / name)
    assert (tmp_path / "elsewhere").read_bytes() == b""


def test_two_processes_share_a_log(tmp_path: Path) -> None:
    service, command = open_log(tmp_path), open_log(tmp_path)
    service.append("started", round=0)
    command.append("plan_approved", plan="1" * 64)
    service.append("stopped", reason="signal")
    assert service.head() == command.head()
    assert events(tmp_path) == ["opened", "started", "plan_approved", "stopped"]
    assert verify_log(service.path).intact


def test_many_writers_at_once_keep_the_chain(tmp_path: Path) -> None:
    open_log(tmp_path)

    def write(number: int) -> None:
        open_log(tmp_path).append("started", round=number)

    with ThreadPool(6) as pool:
        pool.map(write, range(24))
    assert verify_log(tmp_path / "audit.jsonl").head.length == 25
    assert sorted(json.loads(line)["fields"]["round"] for line in lines(tmp_path)[1:]) == list(range(24))


def test_the_log_of_another_site_is_refused(tmp_path: Path) -> None:
    open_log(tmp_path)
    with pytest.raises(SecurityError, match=r"audit.jsonl: the log of .*north.*, not of .*south"):
        open_log(tmp_path, owner="south")


@pytest.mark.parametrize("owner", ["", "../x", "a b"])
def test_an_owner_is_a_name(tmp_path: Path, owner: str) -> None:
    with pytest.raises(SecurityError, match=r"owner: .* is no name"):
        open_log(tmp_path, owner=owner)


def test_a_touched_log_is_not_continued(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for number in range(3):
        log.append("started", round=number)
    whole = lines(tmp_path)
    edited = [*whole[:2], whole[2].replace(b'"round":1', b'"round":9'), whole[3]]
    for content in (edited, [whole[0], *whole[2:]], [*whole, b"junk\n"], whole[1:]):
        (tmp_path / "audit.jsonl").write_bytes(b"".join(content))
        with pytest.raises(SecurityError, match=r"record \d: .*nothing is done with a broken log"):
            open_log(tmp_path)
        assert lines(tmp_path) == content


def test_a_log_that_is_cut_or_exchanged_while_in_use_is_noticed_every_time(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = open_log(tmp_path)
    first = path.read_bytes()
    log.append("started", round=0)
    log.append("started", round=1)
    whole = path.read_bytes()
    for _ in range(2):
        path.write_bytes(first)  # cut
        with pytest.raises(SecurityError, match="was cut or exchanged while it was in use"):
            log.append("stopped")
    path.write_bytes(whole)
    path.unlink()
    for _ in range(2):
        with pytest.raises(SecurityError, match="was cut or exchanged while it was in use"):
            log.append("stopped")
    path.unlink()
    other = tmp_path / "other"
    for number in range(5):
        open_log(other).append("started", round=number + 5)
    (other / "audit.jsonl").replace(path)  # a longer log with a whole chain
    with pytest.raises(SecurityError, match="was cut or exchanged while it was in use"):
        log.append("stopped")


def aged(folder: Path, clock: Clock, days: int) -> AuditLog:
    """A log with a record a day."""
    log = open_log(folder, clock=clock)
    for number in range(days):
        log.append("started", round=number)
        clock.now += timedelta(days=1)
    return log


def test_old_records_go_and_the_log_says_so(tmp_path: Path) -> None:
    clock = Clock()
    log = aged(tmp_path, clock, 10)  # record 0 opens it, record n + 1 is of day n
    clock.now = START + timedelta(days=365 + 5)
    head = log.head()
    assert log.prune(days=365, provable=head) == 6  # the opening, and days 0 to 4
    verdict = verify_log(log.path)
    assert (verdict.intact, verdict.first, verdict.head.length) == (True, 6, head.length + 1)
    assert json.loads(lines(tmp_path)[0])["fields"] == {"round": 5}
    assert json.loads(lines(tmp_path)[-1])["fields"]["length"] == 6
    assert "records 0 to 5 were pruned, as the log itself says" in str(verdict)
    # It goes on, in this process, in another that had it open, and again a year later.
    log.append("started", round=11)
    clock.now += timedelta(days=400)
    assert open_log(tmp_path, clock=clock).prune(days=365, provable=log.head()) == 6
    assert verify_log(log.path).intact
    assert log.append("stopped").length == head.length + 4


def test_a_kill_between_the_note_and_the_cut_costs_nothing(tmp_path: Path) -> None:
    clock = Clock()
    log = aged(tmp_path, clock, 4)
    clock.now = START + timedelta(days=365 + 2)
    before = lines(tmp_path)
    assert log.prune(days=365, provable=log.head()) == 3
    note = lines(tmp_path)[-1]
    log.path.write_bytes(b"".join([*before, note]))  # noted and not yet cut
    assert verify_log(log.path).intact
    again = open_log(tmp_path, clock=clock)
    assert again.prune(days=365, provable=again.head()) == 3
    found = verify_log(log.path)
    assert (found.intact, found.first, found.head.length) == (True, 3, len(before) + 2)


def test_nothing_young_or_unvouched_goes(tmp_path: Path) -> None:
    clock = Clock()
    log = aged(tmp_path, clock, 10)
    clock.now = START + timedelta(days=365)
    assert log.prune(days=365, provable=log.head()) == 0  # the oldest are 365 days old to the second
    clock.now = START + timedelta(days=100_000)  # a clock that runs ahead
    assert log.prune(days=365, provable=NOTHING) == 0
    assert log.prune(days=365, provable=Head(4, "0" * 64)) == 3
    assert verify_log(log.path).first == 3


def test_a_retention_below_a_year_is_refused(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    with pytest.raises(ConfigError, match="audit retention of 364 days is too short; keep at least 365"):
        log.prune(days=364, provable=log.head())
