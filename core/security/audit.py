"""The audit log of a site, or of the consortium: JSON lines, only ever appended, each flushed before the act.

A record is on the disk when `append` returns, so whatever happened stands in the log; what stands in the log may not
have happened, when the process was killed in between. A line torn by a kill is cut off at the next opening, and that is
noted. Several processes may append (a service and a command line): each takes a lock for the moment of writing. When
the log cannot be written, `append` raises and the caller must not act.
"""

import os
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.atomic import sync_folder, write_atomically
from core.errors import ConfigError, SecurityError
from core.security.audit_record import NOTHING, Head, encode
from core.security.audit_walk import Walk
from core.security.locks import locked
from core.security.names import check_name

LEAST_DAYS = 365
"""Hospitals must be able to answer for a year back (CNIL asks for 6 to 12 months)."""
START = 512
"""Bytes at the beginning by which a log is recognized: more than the hash of its first record."""
Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """A moment as records have it: UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class AuditLog:
    """A log that is open for appending."""

    def __init__(self, path: Path, *, study: str, owner: str, clock: Clock = _now) -> None:
        """Open or begin a log (mode 0600) and check its chain.

        Args:
            path: The file.
            study: The study it is about.
            owner: The site, or any name for the consortium's own.
            clock: Gives the present; another one in tests.

        Raises:
            SecurityError: The chain is broken, the log is another's, or it cannot be written.
        """
        self.path = path
        self._names = {"study": check_name(study, what="study"), "owner": check_name(owner, what="owner")}
        self._clock = clock
        self._start = b""
        self._walk = Walk()
        with locked(path):
            self._catch_up()

    def append(self, event: str, **fields: object) -> Head:
        """Write one record and flush it to the disk; then the caller may act.

        Args:
            event: One of `core.security.audit_record.EVENTS`.
            fields: Those that the event may have.

        Returns:
            The log's head after the record.

        Raises:
            SecurityError: The allow-list forbids it, the disk is full, or the log was damaged meanwhile.
        """
        with locked(self.path):
            self._catch_up()
            self._write(event, fields)
        return self._walk.head

    def head(self) -> Head:
        """Length and hash of the log now, with what other processes appended: what a receipt countersigns."""
        with locked(self.path):
            self._catch_up()
        return self._walk.head

    def prune(self, *, days: int, provable: Head) -> int:
        """Drop leading records older than `days`, and say so in the log.

        Args:
            days: Retention, at least 365.
            provable: The last head that a receipt countersigned; what lies after it stays, however old: a clock that
                runs ahead cannot empty a log that nobody vouches for.

        Returns:
            How many records went.

        Raises:
            ConfigError: The retention is too short.
            SecurityError: As for `append`.
        """
        if days < LEAST_DAYS:
            raise ConfigError(f"audit retention of {days} days is too short; keep at least {LEAST_DAYS}")
        with locked(self.path):
            self._catch_up()
            cut, before = self._old(stamp(self._clock() - timedelta(days=days)), provable)
            if cut.length == self._walk.first.length:
                return 0
            self._write("pruned", {**self._names, "length": cut.length, "hash": cut.hash, "days": days})
            try:
                write_atomically(self.path, self.path.read_bytes()[before:], mode=0o600)
            except OSError as error:
                raise self._unwritable(error) from error
            gone = cut.length - self._walk.first.length
            self._catch_up()
        return gone

    def _old(self, cutoff: str, provable: Head) -> tuple[Head, int]:
        """The head up to which records are older than the cutoff and vouched for, and the bytes they take."""
        walk, size = Walk(), 0
        head, before = self._walk.first, 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            record = walk.step(line[:-1])
            size += len(line)
            if record.time >= cutoff or walk.head.length >= min(provable.length, self._walk.head.length):
                break
            head, before = walk.head, size
        return head, before

    def _catch_up(self) -> None:
        """Read what was appended since the last look; mend a torn tail; begin an empty log."""
        try:
            # Not followed: a link in the log's place would send the records elsewhere.
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            os.close(handle)
            raise SecurityError(f"{self.path}: no plain file; move it away")
        with os.fdopen(handle, "r+b") as file:
            # A pruned log begins with another record; its inode may be one that was used before.
            walk = self._walk if file.read(len(self._start)) == self._start else Walk()
            file.seek(0)
            start = file.read(START)
            file.seek(walk.size)
            self._read(walk, file.read(), size=found.st_size)
            torn = found.st_size - walk.size
            if torn:
                file.truncate(walk.size)
                os.fsync(handle)
        self._walk, self._start = walk, start[: walk.size]
        if walk.head == NOTHING:
            self._write("opened", self._names)
            sync_folder(self.path.parent)
        if torn:
            self._write("mended", {"bytes": torn})

    def _read(self, walk: Walk, content: bytes, *, size: int) -> None:
        """Follow the chain through `content`; the log may have grown, or been pruned by another process."""
        if size < walk.size:
            raise self._broken(walk.head.length, "the log was cut or exchanged while it was in use")
        if problem := walk.follow(content):
            raise self._broken(walk.head.length, problem)
        if problem := walk.start_problem():
            raise self._broken(0, problem)
        if walk.names not in (None, self._names):
            raise SecurityError(f"{self.path}: the log of {walk.names}, not of {self._names}; move it away")
        before = self._walk.head
        if walk.head.length < before.length or walk.hashes.get(before.length, before.hash) != before.hash:
            raise self._broken(walk.head.length, "the log was cut or exchanged while it was in use")

    def _write(self, event: str, fields: Mapping[str, object]) -> None:
        """Append and flush; on failure the file is as before."""
        line, _ = encode(self._walk.head, time=stamp(self._clock()), event=event, fields=fields)
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.write(handle, line) != len(line):
                    raise OSError(0, "the disk is full")
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, self._walk.size)
                raise
            finally:
                os.close(handle)
        except OSError as error:
            raise self._unwritable(error) from error
        problem = self._walk.follow(line)
        assert not problem, problem

    def _unwritable(self, error: OSError) -> SecurityError:
        return SecurityError(
            f"{self.path}: the audit log cannot be written ({error.strerror}), so nothing was done; free space or fix "
            "the file's permissions, then start again"
        )

    def _broken(self, number: int, problem: str) -> SecurityError:
        return SecurityError(
            f"{self.path}: record {number}: {problem}; nothing is done with a broken log: export it, find out who did "
            "this, then move it away and start a new one"
        )
