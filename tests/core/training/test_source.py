"""A batch follows from seed, stream and step alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from core.data.augmentation import AugmentationConfig, to_float
from core.data.manifest import Record
from core.data.sampling import OrganSampler
from core.training.source import Source


def same(one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_a_batch_is_images_and_mask_seeds(source: Source) -> None:
    images, seeds = source.batch(0, size=5)
    assert (images.shape, images.dtype) == ((5, 1, 16, 16), torch.float32)
    assert images.min() >= 0
    assert images.max() <= 1
    assert (seeds.shape, seeds.dtype, len(seeds.unique())) == ((5,), torch.int64, 5)


def test_a_step_is_the_same_step_whatever_ran_before_it(source: Source) -> None:
    fifth = source.batch(5, size=4)
    source.batch(0, size=4)
    np.random.default_rng().random()
    torch.rand(3)
    assert same(source.batch(5, size=4), fifth)
    assert same(replace(source).batch(5, size=4), fifth)


def test_steps_streams_and_seeds_differ(source: Source) -> None:
    first = source.batch(0, size=4)
    assert not same(source.batch(1, size=4), first)
    assert not same(replace(source, stream="east").batch(0, size=4), first)
    assert not same(replace(source, seed=4).batch(0, size=4), first)


def test_only_the_samplers_images_are_taken_through_the_rows_of_the_cache(source: Source) -> None:
    # The sampler sees three records only, which are rows 4, 2 and 9 of the cache.
    rows = np.array([4, 2, 9])
    kept = replace(source, augmentation=AugmentationConfig(enabled=False))
    whole = to_float(torch.from_numpy(np.ascontiguousarray(kept.cache.images(rows))), side=16)
    records = [Record(image=Path(f"/{name}.png"), organ="liver", patient=name) for name in "abc"]
    sampler = OrganSampler(records, {"liver": 1.0})
    images, _ = replace(kept, sampler=sampler, rows_N=rows).batch(0, size=40)
    matches = torch.stack([(images == one).flatten(1).all(dim=1) for one in whole])
    assert matches.sum(dim=0).tolist() == [1] * 40
    assert (matches.sum(dim=1) > 0).all()
