"""A sitting ends at a saved state, and only once its time is up."""

import time

import pytest

from core.errors import TimeIsUp
from simulations.deadline import Deadline, deadline_in


def test_no_deadline_never_ends() -> None:
    deadline = deadline_in(None)
    deadline.check("round 3")
    assert deadline.minutes_left() is None


def test_a_moment_in_the_past_ends_it_and_says_where_and_what_next() -> None:
    with pytest.raises(TimeIsUp, match="round 3; everything is saved, the same command with --resume"):
        Deadline(time.time() - 1).check("round 3")
    assert Deadline(time.time() - 1).minutes_left() == 0


def test_minutes_ahead_do_not() -> None:
    deadline = deadline_in(60)
    deadline.check("round 3")
    left = deadline.minutes_left()
    assert left is not None
    assert 59 < left <= 60
