"""The baselines: what is sent comes back, and the clock leaves the first round out."""

import numpy as np
import pytest

from simulations.bench import flower


def test_what_goes_over_the_wire_comes_off_it_as_often_as_its_bytes_are_kept() -> None:
    root, contents = flower.on_the_wire(flower.reply({"a": np.arange(6, dtype=np.uint16)}))
    for keep in (True, False):
        record = flower.off_the_wire(root, contents, keep=keep)
        np.testing.assert_array_equal(record.array_records["arrays"]["a"].numpy(), np.arange(6))
    assert contents == {}


def test_the_model_goes_to_every_site_and_back_over_our_grid() -> None:
    assert flower.in_process({"a": np.ones(4, np.float32)}, sites=2, rounds=3) > 0


def test_the_first_round_which_also_starts_things_up_does_not_count() -> None:
    # Rounds of 8, 1, 3 and 2 seconds: the median of the last three.
    assert flower.seconds_of([0.0, 8.0, 9.0, 12.0, 14.0]) == pytest.approx(2.0)
