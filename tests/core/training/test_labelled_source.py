"""A batch of labelled images follows from seed, stream and step alone; who is drawn how often."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.data.augmentation import standardize
from core.data.degradation import DegradationConfig, degrade
from core.data.labelled import Labelled
from core.errors import DataError
from core.training.labelled_source import LabelledSource, worse_and_clean
from core.training.task import Task

Squares = Callable[..., Labelled]
Make = Callable[..., Task]


def source_of(labelled: Labelled, task: Task, *, seed: int = 3, stream: str = "north") -> LabelledSource:
    return LabelledSource(labelled=labelled, task=task, side=16, seed=seed, stream=stream)


def same(one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


@pytest.mark.parametrize("kind", ["segmentation", "classification", "enhancement"])
def test_a_step_is_the_same_step_whatever_ran_before_it(squares: Squares, task: Make, kind: str) -> None:
    source = source_of(squares("a"), task(kind))
    fifth = source.batch(5, size=4)
    source.batch(0, size=4)
    np.random.default_rng().random()
    torch.rand(3)
    assert same(source.batch(5, size=4), fifth)
    assert same(replace(source).batch(5, size=4), fifth)
    assert not same(source.batch(6, size=4), fifth)
    assert not same(replace(source, stream="east").batch(5, size=4), fifth)
    assert not same(replace(source, seed=4).batch(5, size=4), fifth)


def test_images_are_standardized_and_masks_are_cropped_and_flipped_with_them(squares: Squares, task: Make) -> None:
    images, masks = source_of(squares("a"), task()).batch(0, size=8)
    assert (images.shape, masks.shape) == ((8, 1, 16, 16), (8, 1, 16, 16))
    assert images.mean(dim=(1, 2, 3)).abs().max() < 1e-5
    assert images.std(dim=(1, 2, 3), correction=0) == pytest.approx(torch.ones(8).numpy(), abs=0.02)
    assert masks.unique().tolist() == [0, 1]
    bright = images > images.amax(dim=(1, 2, 3), keepdim=True) / 2  # the square, in the image as augmented
    agreement = (bright == masks.bool()).float().mean()
    assert agreement > 0.9  # a mask that was flipped or cropped otherwise would agree on about 0.7


def test_a_patient_is_drawn_before_an_image_of_it(squares: Squares, task: Make) -> None:
    few = squares("a", patients=2)  # patient a0 small, a1 large, two images each
    many = few.at(np.array([0, 1, 1, 1, 1, 1, 1, 2]))  # a0 now has seven images, a1 one
    for balance in (True, False):
        labels = source_of(many, task("classification", balance=balance)).batch(0, size=400)[1]
        assert labels.double().mean().item() == pytest.approx(0.5, abs=0.1)  # 0.125 if images were drawn alike


def test_a_rare_class_is_drawn_as_often_as_another_where_balance_is_asked_for(squares: Squares, task: Make) -> None:
    labelled = squares("a", patients=6)  # a0, a2, a4 small; a1, a3, a5 large
    rare = labelled.of(["a0", "a2", "a4", "a1"])
    shares = [
        source_of(rare, task("classification", balance=balance)).batch(0, size=400)[1].double().mean().item()
        for balance in (True, False)
    ]
    assert shares == pytest.approx([1 / 2, 1 / 4], abs=0.08)


def test_balance_changes_nothing_but_classification(squares: Squares, task: Make) -> None:
    one, other = (source_of(squares("a"), task(balance=balance)).batch(0, size=4) for balance in (True, False))
    assert same(one, other)


def test_a_target_of_enhancement_is_the_clean_image_in_the_units_of_the_input() -> None:
    clean = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    settings, seeds = DegradationConfig(), torch.tensor([5, 6])
    worse = degrade(clean, seeds_B=seeds, settings=settings)
    images, targets = worse_and_clean(clean, seeds_B=seeds, settings=settings)
    assert torch.equal(images, standardize(worse))
    scale, mean = worse.std(dim=(1, 2, 3), correction=0, keepdim=True) + 1e-3, worse.mean(dim=(1, 2, 3), keepdim=True)
    assert (targets * scale + mean).numpy() == pytest.approx(clean.numpy(), abs=1e-5)
    nothing = DegradationConfig(blur_axial=0, blur_lateral=0, speckle=0, gain_drift=0, downsample=0)
    assert same(worse_and_clean(clean, seeds_B=seeds, settings=nothing), (standardize(clean), standardize(clean)))


def test_one_image_suffices(squares: Squares, task: Make) -> None:
    images, masks = source_of(squares("a").at(np.array([3])), task()).batch(0, size=4)
    assert (images.shape, masks.shape) == ((4, 1, 16, 16), (4, 1, 16, 16))


def test_nothing_to_draw_is_refused(squares: Squares, task: Make) -> None:
    with pytest.raises(DataError, match="north: no labelled training image of task squares"):
        source_of(squares("a").of([]), task())
    bare = replace(squares("a"), masks_NSS=None, labels_N=None)
    for kind in ("segmentation", "classification"):
        with pytest.raises(DataError, match=rf"without what task squares \({kind}\) needs"):
            source_of(bare, task(kind))
    assert source_of(bare, task("enhancement")).batch(0, size=2)[1].shape == (2, 1, 16, 16)
