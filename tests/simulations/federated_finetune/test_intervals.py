"""Differences of Dice are paired over patients and seeds."""

import pytest

from core.errors import DataError
from simulations.federated_finetune.intervals import dice_difference, mean_dice, mean_hospital

FIRST = [{"a": 0.5, "b": 0.7, "c": 0.9}, {"a": 0.6, "b": 0.8, "c": 1.0}]
BELOW = [{patient: dice - 0.1 for patient, dice in own.items()} for own in FIRST]


def test_the_mean_is_over_seeds_and_patients() -> None:
    found = mean_dice(FIRST, seed=0, draws=500)
    assert found.value == pytest.approx((0.5 + 0.7 + 0.9 + 0.6 + 0.8 + 1.0) / 6)
    assert 0.5 <= found.low < found.value < found.high <= 1.0


def test_a_difference_that_all_patients_share_has_no_width() -> None:
    found = dice_difference(FIRST, BELOW, seed=0, draws=500)
    assert found == pytest.approx((0.1, 0.1, 0.1))
    assert dice_difference(BELOW, FIRST, seed=0, draws=500).value == pytest.approx(-0.1)


def test_the_mean_hospital_is_the_mean_of_each_patient() -> None:
    assert mean_hospital([{"a": 0.2, "b": 0.4}, {"a": 0.6, "b": 0.8}]) == pytest.approx({"a": 0.4, "b": 0.6})


def test_arms_with_other_patients_or_seeds_are_refused() -> None:
    with pytest.raises(DataError, match="same patients"):
        dice_difference(FIRST, [FIRST[0], {"a": 1.0}], seed=0, draws=100)
    with pytest.raises(DataError, match="2, 1 training seeds"):
        dice_difference(FIRST, FIRST[:1], seed=0, draws=100)
