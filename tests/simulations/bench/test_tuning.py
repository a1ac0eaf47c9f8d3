"""The rows on fine-tuning: each head has one, on the committed encoder; evaluation's share is below what is allowed."""

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import yaml

from core.training.task import HEADS
from simulations.bench import tuning
from simulations.bench.rows import Row, Settings

Check = Callable[[Row, str], None]
KINDS = {head: kind for kind, heads in HEADS.items() for head in heads}


def test_every_head_has_a_row() -> None:
    assert set(tuning.rows()) == {f"tune-{head}" for head in KINDS}


@pytest.mark.parametrize("head", KINDS)
def test_each_head_is_measured_against_the_smallest_of_its_kind_which_is_measured_against_torch(
    tiny: Settings, check: Check, head: str
) -> None:
    row = tuning.rows()[f"tune-{head}"](tiny)
    check(row, f"tune-{head}")
    baseline = {"classification": "linear head", "segmentation": "light head", "enhancement": "light head"}[KINDS[head]]
    assert row.ours_name == f"{head} head"
    if baseline == row.ours_name:
        baseline += " in torch alone, one batch in memory"
    assert row.baseline_name == baseline
    assert row.baseline is not None
    assert row.ours is not None
    assert row.rates == pytest.approx((1 / row.baseline, 1 / row.ours))
    # Twice the time for an image is half the ratio: less is better, as in every row.
    assert replace(row, ours=2 * row.ours).ratio == pytest.approx(row.baseline / (2 * row.ours))


def test_the_encoder_is_the_committed_regimes(tiny: Settings) -> None:
    committed = yaml.safe_load((files("configs") / "simulation" / "real.yaml").read_text())["encoder"]
    shape = tuning.shape_of(replace(tiny, small=False))
    assert {name: getattr(shape, name) for name in committed} == committed


def test_a_share_of_evaluation_up_to_what_is_allowed_meets_the_goal(tiny: Settings, check: Check) -> None:
    row = tuning.evaluation(tiny)
    check(row, "tune-evaluation")
    assert row.baseline == pytest.approx(0.3)
    assert row.ours is not None
    assert 0 < row.ours < 1
    assert replace(row, ours=0.29).met is True
    assert replace(row, ours=0.31).met is False


def test_breasts_are_one_image_a_patient_and_normal_ones_have_an_empty_mask() -> None:
    labelled = tuning.breasts(6)
    assert len(set(labelled.patients_N)) == len(labelled) == 6
    assert labelled.masks_NSS is not None
    assert labelled.labels_N is not None
    assert set(labelled.labels_N) == {0, 1, 2}
    np.testing.assert_array_equal(labelled.masks_NSS.any(axis=(1, 2)), labelled.labels_N > 0)
