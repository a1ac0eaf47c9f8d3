"""Ridge from frozen tokens to masks: a signal that is there is found, one that is not, is not."""

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
import torch

from core.evaluation.masked import Masked
from core.evaluation.segmentation import PENALTIES, _ridge, frozen
from core.models.encoder import Encoder

Make = Callable[..., tuple[Masked, Masked, Masked]]


def test_tokens_that_know_the_mask_give_a_high_dice_and_noise_does_not(squares: Make, small_encoder: Encoder) -> None:
    knows = frozen(small_encoder, *squares(seen=True), seed=0)
    noise = frozen(small_encoder, *squares(seen=False), seed=0)
    assert knows.mean is not None
    assert noise.mean is not None
    assert knows.mean > 0.85
    # Nothing but the squares' usual place can be learnt. All pixels inside: 2 * 64 / (256 + 64) = 0.4.
    assert noise.mean < 0.55
    assert (knows.images, knows.patients, knows.empty_images, knows.empty_right) == (20, 10, 0, None)
    assert set(knows.by_patient) == {f"test{i}" for i in range(10)}
    assert np.mean(list(knows.by_patient.values())) == pytest.approx(knows.mean)


def test_ridge_solves_the_normal_equations() -> None:
    rng = np.random.default_rng(0)
    tokens, targets = rng.normal(size=(50, 3)) * [1, 5, 0.2] + 2, rng.normal(size=(50, 2))
    rows = torch.from_numpy(np.concatenate([np.ones((50, 1)), tokens, targets], axis=1))
    weights_MDF, bias_MF = _ridge(rows.T @ rows / 50, width=3)
    scaled = (tokens - tokens.mean(0)) / tokens.std(0)
    for penalty, weights_DF, bias_F in zip(PENALTIES, weights_MDF.numpy(), bias_MF.numpy(), strict=True):
        # (X'X / n + penalty) w = X'y / n, with X of mean 0 and deviation 1
        expected = np.linalg.solve(scaled.T @ scaled / 50 + penalty * np.eye(3), scaled.T @ targets / 50)
        assert tokens @ weights_DF + bias_F == pytest.approx(scaled @ expected + targets.mean(0), abs=1e-10)


def test_a_channel_that_never_changes_is_no_trouble() -> None:
    tokens = torch.tensor([[1.0, 7.0], [2.0, 7.0], [3.0, 7.0]], dtype=torch.float64)
    rows = torch.cat([torch.ones(3, 1, dtype=torch.float64), tokens, tokens[:, :1]], dim=1)
    weights_MDF, bias_MF = _ridge(rows.T @ rows / 3, width=2)
    predicted = tokens @ weights_MDF[-1] + bias_MF[-1]
    assert predicted[:, 0].tolist() == pytest.approx([1, 2, 3], abs=1e-3)


def test_the_encoder_is_left_as_it_was_and_the_score_repeats_whatever_the_batch(
    squares: Make, small_encoder: Encoder
) -> None:
    small_encoder.train()
    before = {name: value.clone() for name, value in small_encoder.state_dict().items()}
    state = torch.get_rng_state()
    first = frozen(small_encoder, *squares(seen=True), seed=0)
    assert frozen(small_encoder, *squares(seen=True), seed=0) == first
    assert small_encoder.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in small_encoder.state_dict().items())
    other = frozen(small_encoder, *squares(seen=True), seed=0, batch=5)
    assert other.mean == pytest.approx(first.mean, abs=0.01)


def test_what_cannot_be_scored_gives_a_reason(squares: Make, small_encoder: Encoder) -> None:
    train, validation, test = squares(seen=True)
    no_mask = Masked(test.images_NSS, np.zeros_like(test.masks_NSS), test.patients_N)
    for splits, reason in (
        ((train.of([]), validation, test), "no training image with a mask"),
        ((train, validation.of([]), test), "no validation image with a mask"),
        ((train, validation, no_mask), "the mask of every test image is empty"),
    ):
        score = frozen(small_encoder, *splits, seed=0)
        assert (score.mean, score.reason) == (None, reason)
    with torch.no_grad():
        small_encoder.norm.weight.fill_(float("nan"))
    broken = asdict(frozen(small_encoder, train, validation, test, seed=0))
    assert (broken["mean"], broken["reason"]) == (None, "the encoder's features are not finite")
