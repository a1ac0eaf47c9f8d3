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
        before = self._before(line) if self.size == 0 else self.head
        record, after = decode(line, before)
        self._note(record)
        self.head = after
        if self.size == 0:
            self.first = before
            self.hashes[before.length] = before.hash
        self.size += len(line) + 1
        self.hashes[self.head.length] = self.head.hash
        return record

    def start_problem(self) -> str:
        """Why the log may not begin where it does; empty when it may."""
        if self.size == 0 or self.first == NOTHING or self.first in self.pruned:
            return ""
        return f"records 0 to {self.first.length - 1} are missing, and the log does not say that they were pruned"

    @staticmethod
    def _before(line: bytes) -> Head:
        """The head before a log's first line, from what the line itself says; `decode` then checks all of it."""
        body = parse(line, what="the record")
        number, previous = body.get("number"), body.get("previous")
        late = type(number) is int and number > 0 and isinstance(previous, str)
        return Head(number, previous) if late else NOTHING  # type: ignore[arg-type]  # the line before has told both

    def _note(self, record: Record) -> None:
        """Take what a record says about the log itself; raises SecurityError when it cannot be so."""
        if (record.event == "opened") != (record.number == 0):
            raise SecurityError("a log is opened by its record 0 and by no other")
        if record.event not in ("opened", "pruned"):
            return
        names = {"study": str(record.fields.get("study")), "owner": str(record.fields.get("owner"))}
        if self.names not in (None, names):
            raise SecurityError("it is of another study or owner than the records before it")
        self.names = names
        if record.event == "pruned":
            self.pruned.add(Head(record.fields.get("length", 0), record.fields.get("hash", "")))
