"""Organ-balanced losses and the gap that federation closes."""

import numpy as np
import pytest

from core.errors import DataError
from core.evaluation.intervals import (
    Losses,
    difference,
    gap_closed,
    gap_closed_over_seeds,
    organ_balanced,
    patient_draws,
    percentile_interval,
    recall_in_draws,
    seed_draws,
)


def _arm(level: float, *, spread: float = 0.05, patients: int = 40, seed: int = 0) -> Losses:
    """Two organs; the spread is the patients' own and the same in every arm."""
    own = np.random.default_rng(seed).normal(scale=spread, size=2 * patients)
    return {f"p{i}": ("liver" if i < patients else "heart", level + own[i]) for i in range(2 * patients)}


EVEN = {"liver": 0.5, "heart": 0.5}


def test_organs_count_by_the_mix_and_not_by_their_patients() -> None:
    losses = {"a": ("liver", 1.0), "b": ("liver", 2.0), "c": ("liver", 3.0), "d": ("heart", 10.0)}
    expected = 0.75 * (1 + 2 + 3) / 3 + 0.25 * 10
    assert organ_balanced(losses, {"liver": 0.75, "heart": 0.25}) == pytest.approx(expected, abs=1e-12)


def test_an_organ_without_patients_leaves_its_share_to_the_others() -> None:
    losses = {"a": ("liver", 1.0), "d": ("heart", 10.0)}
    expected = (0.2 * 1 + 0.3 * 10) / (0.2 + 0.3)
    assert organ_balanced(losses, {"liver": 0.2, "heart": 0.3, "lung": 0.5}) == pytest.approx(expected, abs=1e-12)


def test_an_organ_outside_the_mix_does_not_count() -> None:
    assert organ_balanced({"a": ("liver", 1.0), "b": ("eye", 99.0)}, {"liver": 1.0}) == 1.0


@pytest.mark.parametrize(
    ("losses", "mix", "words"),
    [
        ({"a": ("liver", float("nan"))}, {"liver": 1.0}, "patient a is nan"),
        ({"a": ("liver", 1.0)}, {"liver": -1.0}, "share -1.0"),
        ({"a": ("liver", 1.0)}, {"heart": 1.0}, "no held-out patient"),
        ({}, {"liver": 1.0}, "no held-out patient"),
    ],
)
def test_what_has_no_meaning_is_refused(losses: Losses, mix: dict[str, float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        organ_balanced(losses, mix)


def test_every_draw_takes_as_many_patients_as_there_are() -> None:
    counts = patient_draws(7, draws=50, generator=np.random.default_rng(0))
    assert counts.shape == (50, 7)
    assert (counts.sum(axis=1) == 7).all()


def test_the_interval_leaves_out_two_and_a_half_percent_on_either_side() -> None:
    interval = percentile_interval(0.5, np.arange(1001) / 1000)
    assert interval == pytest.approx((0.5, 0.025, 0.975), abs=1e-12)


def test_a_shift_that_all_patients_share_gives_an_exact_share_of_the_gap() -> None:
    # alone (1.0 + 1.2) / 2 = 1.1, pooled 0.6, federated 0.7: closed (1.1 - 0.7) / (1.1 - 0.6) = 0.8 in every draw
    gap = gap_closed([_arm(1.0), _arm(1.2)], _arm(0.7), _arm(0.6), mix=EVEN, seed=3)
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.8, 0.8, 0.8), abs=1e-9)
    assert gap.reason == ""


def test_patients_that_disagree_widen_the_interval_around_the_value() -> None:
    gap = gap_closed([_arm(1.1)], _arm(0.8, seed=1), _arm(0.6), mix=EVEN, seed=3)
    assert gap.value is not None
    assert gap.low is not None
    assert gap.high is not None
    assert gap.low < gap.value < gap.high
    # one patient's noise is 0.05 in both arms, organ means over 40, a gap of 0.5: sd of the ratio is about 0.016
    sd = np.hypot(0.05, 0.05) * np.sqrt(2 * 0.5**2 / 40) / 0.5
    assert gap.high - gap.low == pytest.approx(2 * 1.96 * sd, rel=0.35)


def test_the_same_seed_repeats_and_another_one_moves_the_interval() -> None:
    arms = ([_arm(1.1)], _arm(0.8, seed=1), _arm(0.6, seed=2))
    first = gap_closed(*arms, mix=EVEN, seed=3)
    assert gap_closed(*arms, mix=EVEN, seed=3) == first
    assert gap_closed(*arms, mix=EVEN, seed=4) != first


def test_the_order_of_patients_does_not_matter() -> None:
    def turned(arm: Losses) -> Losses:
        return dict(reversed(arm.items()))

    local, federated, pooled = _arm(1.1), _arm(0.8, seed=1), _arm(0.6, seed=2)
    expected = gap_closed([local], federated, pooled, mix=EVEN, seed=3)
    assert gap_closed([turned(local)], turned(federated), pooled, mix=EVEN, seed=3) == expected


def test_without_a_gap_there_is_no_share_and_the_reason_is_given() -> None:
    gap = gap_closed([_arm(0.6)], _arm(0.5), _arm(0.7), mix=EVEN, seed=0)
    assert (gap.value, gap.low, gap.high) == (None, None, None)
    assert "0.7" in gap.reason
    assert "no gap to close" in gap.reason


def test_a_gap_that_vanishes_in_many_draws_has_a_value_but_no_interval() -> None:
    # a gap of 0.01 under noise of 0.5 / sqrt(40) = 0.08: almost half of the draws lose it
    local = {f"p{i}": ("liver", 1.0) for i in range(40)}
    pooled = {f"p{i}": ("liver", 0.99 + (0.5 if i % 2 else -0.5)) for i in range(40)}
    federated = dict.fromkeys(local, ("liver", 0.995))
    gap = gap_closed([local], federated, pooled, mix={"liver": 1.0}, seed=0)
    assert gap.value == pytest.approx(0.5)
    assert (gap.low, gap.high) == (None, None)
    assert "no bounds" in gap.reason


def test_a_gap_that_vanishes_in_a_few_draws_only_widens_the_interval() -> None:
    rng = np.random.default_rng(5)
    noise = 0.5 * (rng.permutation(np.arange(80)) - 39.5) / 40
    local = {f"p{i}": ("liver", 1.0) for i in range(80)}
    pooled = {f"p{i}": ("liver", 1.0 - 0.072 + noise[i]) for i in range(80)}
    half = {f"p{i}": ("liver", (1.0 + pooled[f"p{i}"][1]) / 2) for i in range(80)}
    gap = gap_closed([local], half, pooled, mix={"liver": 1.0}, seed=0)
    counts = patient_draws(80, draws=2000, generator=np.random.default_rng(0))
    vanished = float(np.mean(counts @ (0.072 - noise) <= 0))
    assert 0 < vanished < 0.025
    # (1 - (1 + pooled) / 2) / (1 - pooled) is one half in every draw that has a gap
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.5, 0.5, 0.5), abs=1e-9)


def test_arms_scored_on_other_patients_are_refused() -> None:
    with pytest.raises(DataError, match="same patients"):
        gap_closed([_arm(1.0)], _arm(0.7, patients=39), _arm(0.6), mix=EVEN, seed=0)
    with pytest.raises(DataError, match="no hospital"):
        gap_closed([], _arm(0.7), _arm(0.6), mix=EVEN, seed=0)


def _moved(arm: Losses, by: float) -> Losses:
    return {patient: (organ, loss + by) for patient, (organ, loss) in arm.items()}


def test_one_seed_is_the_gap_of_that_seed_number_by_number() -> None:
    local, federated, pooled = [_arm(1.1), _arm(1.0, seed=4)], _arm(0.8, seed=1), _arm(0.6, seed=2)
    alone = gap_closed(local, federated, pooled, mix=EVEN, seed=3)
    assert gap_closed_over_seeds([local], [federated], [pooled], mix=EVEN, seed=3) == alone
    # The same training twice has nothing between seeds: every draw of seeds is the one training.
    twice = gap_closed_over_seeds([local] * 2, [federated] * 2, [pooled] * 2, mix=EVEN, seed=3)
    assert (twice.value, twice.low, twice.high) == pytest.approx((alone.value, alone.low, alone.high), abs=1e-12)


def test_seeds_are_averaged_before_the_ratio_and_arms_of_a_seed_stay_together() -> None:
    # Losses without spread. Seed 1: alone 1.0, federated 0.9, pooled 0.8: half. Seed 2: 2.0, 1.7, 1.6: three quarters.
    first, second = ([_arm(level, spread=0) for level in levels] for levels in ((1.0, 0.9, 0.8), (2.0, 1.7, 1.6)))
    gap = gap_closed_over_seeds([[first[0]], [second[0]]], [first[1], second[1]], [first[2], second[2]], mix=EVEN,
                                seed=0)  # fmt: skip
    # (1.5 - 1.3) / (1.5 - 1.2); a draw is (1, 1), (1, 2) or (2, 2), with chances 1/4, 1/2, 1/4
    assert gap.value == pytest.approx(0.2 / 0.3)
    assert (gap.low, gap.high) == pytest.approx((0.5, 0.75))


def test_seeds_that_disagree_widen_the_interval() -> None:
    local, pooled, federated = _arm(1.1), _arm(0.6), _arm(0.8, seed=1)
    same = gap_closed_over_seeds([[local]] * 2, [federated] * 2, [pooled] * 2, mix=EVEN, seed=0)
    apart = gap_closed_over_seeds(
        [[local]] * 2, [_moved(federated, -0.1), _moved(federated, 0.1)], [pooled] * 2, mix=EVEN, seed=0
    )
    assert apart.value == pytest.approx(same.value)
    assert apart.high - apart.low > 3 * (same.high - same.low)


def test_a_seed_without_a_gap_takes_the_bounds_away() -> None:
    # In a quarter of the draws both seeds are the second, where pooling is worse than training alone.
    level = {name: _arm(value, spread=0) for name, value in (("low", 0.5), ("middle", 0.8), ("high", 1.0))}
    gap = gap_closed_over_seeds(
        [[level["high"]], [level["middle"]]], [level["middle"]] * 2, [level["low"], level["high"]], mix=EVEN, seed=0
    )
    assert gap.value == pytest.approx((0.9 - 0.8) / (0.9 - 0.75))
    assert (gap.low, gap.high) == (None, None)
    assert "pooling was not better than training alone in 2" in gap.reason  # 25% of the draws, give or take


def test_a_difference_is_paired_over_patients_and_seeds() -> None:
    first, second = _arm(0.8), _arm(1.0)
    lower = difference([first], [second], mix=EVEN, seed=0)
    assert lower == pytest.approx((-0.2, -0.2, -0.2))  # the patients' own spread is in both and falls out
    both = difference([first, _moved(first, 0.3)], [second, _moved(second, 0.1)], mix=EVEN, seed=0)
    assert both == pytest.approx(((-0.2 + 0) / 2, -0.2, 0.0), abs=1e-12)


def test_the_difference_of_one_organ_is_that_of_a_mix_of_this_organ() -> None:
    first = {"a": ("liver", 1.0), "b": ("heart", 5.0), "c": ("heart", 7.0)}
    second = {"a": ("liver", 4.0), "b": ("heart", 4.0), "c": ("heart", 4.0)}
    assert difference([first], [second], mix={"liver": 1.0}, seed=0) == (-3, -3, -3)
    # hearts differ by 1 and 3: a draw of two is 1, 2 or 3 on average
    assert difference([first], [second], mix={"heart": 1.0}, seed=0) == (2, 1, 3)


def test_arms_with_other_seeds_or_patients_are_refused() -> None:
    arm, fewer = _arm(1.0), _arm(1.0, patients=39)
    with pytest.raises(DataError, match="2, 1 training seeds"):
        difference([arm, arm], [arm], mix=EVEN, seed=0)
    with pytest.raises(DataError, match="0, 0 training seeds"):
        difference([], [], mix=EVEN, seed=0)
    with pytest.raises(DataError, match="split column"):
        difference([arm, fewer], [arm, fewer], mix=EVEN, seed=0)
    with pytest.raises(DataError, match="no hospital"):
        gap_closed_over_seeds([[arm], []], [arm, arm], [arm, arm], mix=EVEN, seed=0)
    with pytest.raises(DataError, match="1, 2, 2 training seeds"):
        gap_closed_over_seeds([[arm]], [arm, arm], [arm, arm], mix=EVEN, seed=0)


def test_every_draw_of_seeds_is_a_mean() -> None:
    weights = seed_draws(3, draws=50, seed=0)
    assert weights.sum(axis=1) == pytest.approx(np.ones(50))
    assert set((weights * 3).round(9).flatten()) == {0, 1, 2, 3}


def test_recall_is_averaged_over_the_classes_that_a_draw_holds() -> None:
    # Patient 1: class 0 right 1 of 2. Patient 2: class 1 right 3 of 3.
    sums = np.array([[[1, 2], [0, 0]], [[0, 0], [3, 3]]], float)
    counts = np.array([[1, 1], [2, 0], [0, 2]], float)
    assert recall_in_draws(sums, counts) == pytest.approx([(0.5 + 1) / 2, 0.5, 1])
