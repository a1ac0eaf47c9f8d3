"""What a fine-tuned model predicts and what that is worth, against the arithmetic by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.data.augmentation import standardize, to_float
from core.data.labelled import Labelled
from core.errors import DataError
from core.evaluation.dice import Truth, best_threshold, dice_of_images
from core.evaluation.downstream import Chooser, degraded, evaluate, obstacle, predict, truth_of
from core.models.encoder import Encoder
from core.models.task_model import TaskModel, build_task_model
from core.training.fitted import Fitted
from core.training.task import Task

KINDS = ("segmentation", "classification", "enhancement")


def task_of(kind: str) -> Task:
    return Task(name="t", kind=kind, classes=["small", "large"] if kind == "classification" else [])


def fitted_of(model: TaskModel, task: Task, *, threshold: float = 0.5) -> Fitted:
    return Fitted(model=model, task=task, threshold=threshold, best_step=1, validation=None, steps=1, images=1,
                  seconds=0.0, evaluation_seconds=0.0)  # fmt: skip


@pytest.fixture
def labelled() -> Labelled:
    """Seven images of four patients, 20 x 20; the last one's mask is empty."""
    rng = np.random.default_rng(0)
    masks = np.zeros((7, 20, 20), np.uint8)
    for number in range(6):
        masks[number, number : number + 8, 3:12] = 1
    return Labelled(
        images_NSS=(masks * 120 + rng.integers(0, 100, masks.shape)).astype(np.uint8),
        masks_NSS=masks,
        labels_N=np.array([0, 1, 1, 0, 1, 0, 0]),
        patients_N=np.array(["a", "a", "b", "b", "c", "d", "d"]),
        names_N=np.array([f"{number}.png" for number in range(7)]),
    )


def model_of(encoder: Encoder, task: Task) -> TaskModel:
    """A model whose untrained head does something, also for enhancement."""
    model = build_task_model(encoder, task, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_do_not_depend_on_the_batch(labelled: Labelled, small_encoder: Encoder, kind: str) -> None:
    task = task_of(kind)
    model = model_of(small_encoder, task).train()
    whole, parts = (predict(model, labelled.images_NSS, task=task, batch=batch) for batch in (128, 3))
    assert whole == pytest.approx(parts, abs=1e-5)
    assert whole.dtype == np.float32
    assert whole.shape == ((7, 2) if kind == "classification" else (7, 16, 16))
    assert ((whole >= 0) & (whole <= 1)).all()
    assert not model.training
    assert predict(model, labelled.images_NSS[:0], task=task).shape == (0, *whole.shape[1:])


def test_probabilities_are_the_sigmoid_or_softmax_of_the_logits(labelled: Labelled, small_encoder: Encoder) -> None:
    images = standardize(to_float(torch.from_numpy(labelled.images_NSS), side=16))
    for kind in ("segmentation", "classification"):
        task = task_of(kind)
        model = model_of(small_encoder, task)
        with torch.no_grad():
            logits = model.eval()(images).double()
        odds = logits.exp()
        expected = odds / (1 + odds) if kind == "segmentation" else odds / odds.sum(dim=1, keepdim=True)
        made = predict(model, labelled.images_NSS, task=task)
        assert made == pytest.approx(expected.reshape(made.shape).numpy(), abs=1e-6)


def test_an_untrained_restoration_returns_the_image_in_grey_levels(labelled: Labelled, small_encoder: Encoder) -> None:
    task = task_of("enhancement")
    made = predict(build_task_model(small_encoder, task, seed=0), labelled.images_NSS, task=task)
    assert made == pytest.approx(to_float(torch.from_numpy(labelled.images_NSS), side=16)[:, 0].numpy(), abs=1e-5)


def test_how_an_image_is_degraded_follows_from_seed_and_name(labelled: Labelled) -> None:
    task = task_of("enhancement")
    worse, clean = degraded(labelled, task=task, side=16, seed=1)
    assert (worse.shape, clean.shape) == ((7, 16, 16), (7, 16, 16))
    turned, _ = degraded(labelled.at(np.arange(7)[::-1]), task=task, side=16, seed=1)
    assert turned[::-1] == pytest.approx(worse, abs=1e-6)
    assert not np.allclose(degraded(labelled, task=task, side=16, seed=2)[0], worse, atol=0.01)
    nameless, _ = degraded(replace(labelled, names_N=None), task=task, side=16, seed=1)
    assert not np.allclose(nameless, worse, atol=0.01)
    assert degraded(labelled.of([]), task=task, side=16, seed=1)[0].shape == (0, 16, 16)


def test_the_choice_is_by_mean_dice_at_its_best_threshold(labelled: Labelled, small_encoder: Encoder) -> None:
    task = task_of("segmentation")
    model = model_of(small_encoder, task)
    choice = Chooser(labelled, task=task, side=16, seed=0).choose(model)
    made = predict(model, labelled.images_NSS, task=task)
    truth = truth_of(labelled, side=16)
    assert (choice.threshold, choice.score) == best_threshold(made, truth)
    dice = dice_of_images(made > choice.threshold, truth.masks_NSS)
    assert choice.score == pytest.approx(np.mean([(dice[0] + dice[1]) / 2, (dice[2] + dice[3]) / 2, dice[4], dice[5]]))


def test_the_choice_is_by_balanced_accuracy(labelled: Labelled, small_encoder: Encoder) -> None:
    task = task_of("classification")
    model = model_of(small_encoder, task)
    right = predict(model, labelled.images_NSS, task=task).argmax(axis=1) == labelled.labels_N
    choice = Chooser(labelled, task=task, side=16, seed=0).choose(model)
    zeros, ones = [0, 3, 5, 6], [1, 2, 4]
    assert choice == (pytest.approx((right[zeros].mean() + right[ones].mean()) / 2), 0.5)


def test_the_choice_is_by_the_gain_of_psnr(labelled: Labelled, small_encoder: Encoder) -> None:
    task = task_of("enhancement")
    chooser = Chooser(labelled, task=task, side=16, seed=0)
    assert chooser.choose(build_task_model(small_encoder, task, seed=0)) == (pytest.approx(0, abs=1e-3), 0.5)
    model = model_of(small_encoder, task)
    score = evaluate(fitted_of(model, task), labelled, seed=0)
    assert chooser.choose(model).score == pytest.approx(score.metrics["psnr_gain"].value, abs=1e-3)


def test_test_images_are_scored_at_the_threshold_of_the_model(labelled: Labelled, small_encoder: Encoder) -> None:
    task = task_of("segmentation")
    model = model_of(small_encoder, task)
    made = predict(model, labelled.images_NSS, task=task)
    for threshold in (0.3, 0.6):
        score = evaluate(fitted_of(model, task, threshold=threshold), labelled, seed=0)
        dice = dice_of_images(made > threshold, truth_of(labelled, side=16).masks_NSS)
        assert score.by_patient["a"] == pytest.approx((dice[0] + dice[1]) / 2)
        assert score.by_patient["d"] == pytest.approx(dice[5])  # image 6 has an empty mask
        assert (score.counts["images"], score.counts["empty_images"]) == (7, 1)


def test_millimetres_are_those_of_the_cache_times_the_change_of_side(
    labelled: Labelled, small_encoder: Encoder
) -> None:
    task = task_of("segmentation")
    fitted = fitted_of(model_of(small_encoder, task), task)
    score = evaluate(fitted, labelled, seed=0, spacing_N2=np.full((7, 2), 0.4))
    pixels, millimetres = (score.metrics[name].value for name in ("hd95", "hd95_mm"))
    assert pixels is not None
    assert millimetres == pytest.approx(pixels * 0.4 * 20 / 16)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_score(labelled: Labelled, small_encoder: Encoder, kind: str) -> None:
    task = task_of(kind)
    fitted = fitted_of(model_of(small_encoder, task), task)
    score = evaluate(fitted, labelled, seed=0)
    assert (score.kind, set(score.by_patient)) == (kind, {"a", "b", "c", "d"})
    assert evaluate(fitted, labelled, seed=0) == score
    assert score.headline.value is not None
    assert evaluate(fitted, labelled.of([]), seed=0).headline.value is None


def test_truth_is_the_nearest_pixel_of_the_mask(labelled: Labelled) -> None:
    truth = truth_of(labelled, side=10)
    assert isinstance(truth, Truth)
    # half the side: pixel i of 10 is that at 2 i + 1 of 20 (the nearest to its centre, the higher of equals)
    assert labelled.masks_NSS is not None
    assert np.array_equal(truth.masks_NSS, labelled.masks_NSS[:, 1::2, 1::2] > 0)
    assert truth_of(labelled.of([]), side=10).masks_NSS.shape == (0, 10, 10)


def test_why_a_split_says_nothing(labelled: Labelled) -> None:
    bare = replace(labelled, masks_NSS=None, labels_N=None)
    for kind in KINDS:
        assert obstacle(labelled, task=task_of(kind), side=16) == ""
        assert obstacle(labelled.of([]), task=task_of(kind), side=16) == "no image"
    blank = labelled.at(np.array([6]))
    assert obstacle(blank, task=task_of("segmentation"), side=16) == "no mask that is not empty"
    assert obstacle(bare, task=task_of("segmentation"), side=16) == "no mask that is not empty"
    assert obstacle(bare, task=task_of("classification"), side=16) == "no class"
    assert obstacle(bare, task=task_of("enhancement"), side=16) == ""


def test_what_cannot_be_scored_is_refused(labelled: Labelled, small_encoder: Encoder) -> None:
    bare = replace(labelled, masks_NSS=None, labels_N=None)
    for kind in ("segmentation", "classification"):
        task = task_of(kind)
        with pytest.raises(DataError, match=rf"test images of task t: no labels of its kind \({kind}\)"):
            evaluate(fitted_of(model_of(small_encoder, task), task), bare, seed=0)
    task = task_of("segmentation")
    model = model_of(small_encoder, task)
    with torch.no_grad():
        model.encoder.norm.weight.fill_(float("nan"))
    with pytest.raises(DataError, match="task t: predictions are not finite"):
        evaluate(fitted_of(model, task), labelled, seed=0)
    assert np.isnan(Chooser(labelled, task=task, side=16, seed=0).choose(model).score)
