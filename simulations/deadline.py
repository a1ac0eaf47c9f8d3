"""How long a run may take in one sitting: it stops between two saved states, and `--resume` goes on."""

import time
from dataclasses import dataclass

from core.errors import TimeIsUp


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment by the wall clock, shared by all processes of a run; None is never."""

    end: float | None = None
    """Seconds since the epoch, as `time.time` counts."""

    def check(self, where: str) -> None:
        """Raise TimeIsUp, which says where it stopped, once the moment has passed."""
        if self.end is not None and time.time() >= self.end:
            raise TimeIsUp(f"the time is up at {where}; everything is saved, the same command with --resume goes on")

    def minutes_left(self) -> float | None:
        """Minutes until the moment, at least 0; None when there is none."""
        return None if self.end is None else max(0.0, (self.end - time.time()) / 60)


def deadline_in(minutes: float | None) -> Deadline:
    """The moment so many minutes from now."""
    return Deadline() if minutes is None else Deadline(time.time() + 60 * minutes)
