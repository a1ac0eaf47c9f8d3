"""The share of the pooled gain on tasks that a federation keeps, on scores of a few patients."""

import numpy as np
import pytest

from core.errors import DataError
from core.evaluation.gain import ByPatient, gain_kept
from core.evaluation.intervals import Gap


def _dice(level: float, *, spread: float = 0.0, patients: int = 40, seed: int = 0) -> ByPatient:
    own = np.random.default_rng(seed).normal(scale=spread, size=patients)
    return {f"p{i}": float(level + own[i]) for i in range(patients)}


def _gain(
    federated: list[ByPatient], centralized: list[ByPatient], random_init: list[ByPatient], **options: int
) -> Gap:
    return gain_kept({"t": federated}, {"t": centralized}, {"t": random_init}, tasks=["t"], seed=0, **options)


def test_gains_are_summed_over_the_tasks_before_they_are_divided() -> None:
    federated = {"a": [_dice(0.6)], "b": [_dice(0.5)]}
    centralized = {"a": [_dice(0.7)], "b": [_dice(0.8)]}
    random_init = {"a": [_dice(0.5)], "b": [_dice(0.4)]}
    gain = gain_kept(federated, centralized, random_init, tasks=["a", "b"], seed=0)
    # (0.1 + 0.1) / (0.2 + 0.4); every patient has the same score, so no draw differs
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.2 / 0.6, 0.2 / 0.6, 0.2 / 0.6))


def test_a_spread_that_all_arms_share_falls_out() -> None:
    gain = _gain([_dice(0.6, spread=0.1)], [_dice(0.7, spread=0.1)], [_dice(0.5, spread=0.1)])
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.5, 0.5, 0.5), abs=1e-9)


def test_patients_that_disagree_widen_the_interval() -> None:
    gain = _gain([_dice(0.6, spread=0.05, seed=1)], [_dice(0.7)], [_dice(0.5)])
    assert gain.low < gain.value < gain.high
    assert gain.high - gain.low == pytest.approx(2 * 1.96 * 0.05 / np.sqrt(40) / 0.2, rel=0.35)


def test_seeds_of_both_trained_arms_are_drawn_together_and_initializations_apart() -> None:
    # Seed 1 keeps 0.1 of 0.2, seed 2 keeps 0.3 of 0.4; (0.1 + 0.3) / (0.2 + 0.4); draws (1, 1) and (2, 2) at the ends.
    paired = _gain([_dice(0.5), _dice(0.7)], [_dice(0.6), _dice(0.8)], [_dice(0.4)])
    assert (paired.value, paired.low, paired.high) == pytest.approx((0.4 / 0.6, 0.1 / 0.2, 0.3 / 0.4))
    # Initializations of 0.3 and 0.5: (0.6 - 0.4) / (0.7 - 0.4); both 0.5: 0.1 / 0.2; both 0.3: 0.3 / 0.4.
    started = _gain([_dice(0.6)], [_dice(0.7)], [_dice(0.3), _dice(0.5)])
    assert (started.value, started.low, started.high) == pytest.approx((0.2 / 0.3, 0.1 / 0.2, 0.3 / 0.4))


def test_a_gain_of_pooling_that_is_not_shown_leaves_no_share() -> None:
    noise = [_dice(0.51, spread=0.2, seed=3)]
    gain = _gain([_dice(0.6)], noise, [_dice(0.5)])
    assert (gain.value, gain.low, gain.high) == (None, None, None)
    assert "not shown to gain" in gain.reason
    assert _gain([_dice(0.6)], [_dice(0.4)], [_dice(0.5)]).value is None


def test_a_gain_that_one_of_two_seeds_lacks_is_not_shown() -> None:
    # A quarter of the draws are the second seed twice: the lower bound of the pooled gain is -0.1.
    gain = _gain([_dice(0.6), _dice(0.6)], [_dice(0.8), _dice(0.4)], [_dice(0.5)])
    assert gain.value is None
    assert "sum of gains 0.1000, lower 95% bound -0.1000" in gain.reason


def test_classification_is_balanced_over_classes() -> None:
    # Recalls (3/4 + 1/2) / 2 = 5/8 federated, (4/4 + 2/2) / 2 = 1 pooled, (2/4 + 0/2) / 2 = 1/4 random.
    def scores(common: int, rare: int) -> ByPatient:
        return {"only": [[common, 4], [rare, 2]]}

    gain = _gain([scores(3, 1)], [scores(4, 2)], [scores(2, 0)])
    assert (gain.value, gain.low, gain.high) == pytest.approx(((5 / 8 - 1 / 4) / (1 - 1 / 4),) * 3)


def test_a_task_without_a_score_is_not_left_out() -> None:
    arms = {"a": [_dice(0.6)], "b": [{}]}
    gain = gain_kept(arms, {"a": [_dice(0.7)], "b": [_dice(0.8)]}, {"a": [_dice(0.5)]}, tasks=["a", "b"], seed=0)
    assert gain.value is None
    assert gain.reason == "b has no score in federated; b has no score in random_init"


def test_the_order_of_patients_and_tasks_does_not_matter_and_the_seed_does() -> None:
    def arms(level: float, seed: int) -> dict[str, list[ByPatient]]:
        return {"a": [_dice(level, spread=0.05, seed=seed)], "b": [_dice(level, spread=0.05, seed=seed + 9)]}

    def turned(arm: dict[str, list[ByPatient]]) -> dict[str, list[ByPatient]]:
        return {task: [dict(reversed(run.items())) for run in runs] for task, runs in reversed(arm.items())}

    federated, centralized, start = arms(0.6, 1), arms(0.7, 2), arms(0.5, 3)
    gain = gain_kept(federated, centralized, start, tasks=["a", "b"], seed=0)
    assert gain_kept(turned(federated), centralized, start, tasks=["b", "a"], seed=0) == gain
    assert gain_kept(federated, centralized, start, tasks=["a", "b"], seed=1) != gain


def test_what_cannot_be_paired_is_refused() -> None:
    one = [_dice(0.5)]
    with pytest.raises(DataError, match="no task"):
        gain_kept({}, {}, {}, tasks=[], seed=0)
    with pytest.raises(DataError, match=r"\[1, 2\] training seeds"):
        _gain(one, one * 2, one)
    with pytest.raises(DataError, match="t is scored on different patients"):
        _gain([_dice(0.6)], [_dice(0.7)], [_dice(0.5, patients=39)])
    with pytest.raises(DataError, match="different numbers of classes"):
        _gain([{"p": [[1, 2]]}, {"p": [[1, 2], [0, 1]]}], [{"p": 0.5}] * 2, [{"p": 0.5}])
    with pytest.raises(DataError, match="not finite"):
        _gain([_dice(float("nan"))], [_dice(0.7)], [_dice(0.5)])


def test_scores_of_the_same_patients_are_drawn_together() -> None:
    # Four probes that say the same of the same patients know no more than one of them.
    arms = [_dice(0.6, spread=0.05, seed=1)], [_dice(0.7)], [_dice(0.5)]
    tasks = ["a", "b", "c", "d"]
    once = _gain(*arms)
    often = gain_kept(*(dict.fromkeys(tasks, arm) for arm in arms), tasks=tasks, seed=0)
    assert often.value == pytest.approx(once.value)
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.2)
