"""Following the chain of an audit log from its first record to its last whole one."""

from dataclasses import dataclass, field

from core.errors import SecurityError
from core.security.audit_record import NOTHING, Head, Record, decode
from core.security.canonical import parse


@dataclass
class Walk:
    """How far a log has been followed."""

    first: Head = NOTHING
    """The head before the first record that is still there; NOTHING unless the log was pruned."""
    head: Head = NOTHING
    """After the last record followed."""
    size: int = 0
    """Bytes followed, all of them whole lines."""
    hashes: dict[int, str] = field(default_factory=dict)
    """The head's hash by length, at the start and after each record."""
    pruned: set[Head] = field(default_factory=set)
    """Beginnings that the log itself says were pruned."""
    names: dict[str, str] | None = None
    """Study and owner, as the log says; None before it does."""

    def follow(self, content: bytes) -> str:
        """Take whole lines from `content`; the problem with the first bad record, empty when there is none.

        An unterminated last line stays: a kill tore it. So does one that holds NUL bytes: a power cut left the file
        longer than what was written to it, and no record has such a byte.
        """
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.split(b"\n")[:-1]
        while lines and b"\x00" in lines[-1]:
            lines.pop()
        for line in lines:
            try:
                self.step(line)
            except SecurityError as error:
                return str(error)
        return ""

    def step(self, line: bytes) -> Record:
        """Take one line, without its newline; raises SecurityError when it does not follow."""
        if self.size == 0:
            self._begin(line)
        record, self.head = decode(line, self.head)
        self.size += len(line) + 1
        self.hashes[self.head.length] = self.head.hash
        if record.event in ("opened", "pruned"):
            self._note(record)
        return record

    def start_problem(self) -> str:
        """Why the log may not begin where it does; empty when it may."""
        if self.size == 0 or self.first == NOTHING or self.first in self.pruned:
            return ""
        return f"records 0 to {self.first.length - 1} are missing, and the log does not say that they were pruned"

    def _begin(self, line: bytes) -> None:
        """Set the head before the first line from what the line itself says; `decode` then checks all of it."""
        number, previous = _claims(line)
        self.first = self.head = Head(number, previous) if number else NOTHING
        self.hashes[self.first.length] = self.first.hash

    def _note(self, record: Record) -> None:
        names = {"study": str(record.fields.get("study")), "owner": str(record.fields.get("owner"))}
        if record.event == "opened" and record.number != 0:
            raise SecurityError("it opens a log that is open already")
        if self.names not in (None, names):
            raise SecurityError("it is of another study or owner than the records before it")
        self.names = names
        if record.event == "pruned":
            self.pruned.add(Head(record.fields.get("length", 0), record.fields.get("hash", "")))


def _claims(line: bytes) -> tuple[int, str]:
    """Number and previous hash as a first line states them."""
    body = parse(line, what="the record")
    number, previous = body.get("number"), body.get("previous")
    return (number, previous) if type(number) is int and isinstance(previous, str) else (0, NOTHING.hash)
