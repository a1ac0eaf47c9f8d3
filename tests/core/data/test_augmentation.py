"""Each image's change follows from its own seed; values stay in range; geometry is what it says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from core.data.augmentation import AugmentationConfig, augment, augment_mask, standardize, to_float, to_mask, units_of
from core.errors import ConfigError

STILL = AugmentationConfig(crop_scale_min=1, crop_scale_max=1, aspect_max=1, flip=0, gain=0, gamma=0)


def batch(count: int = 12, side: int = 48) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, side, side), generator=generator, dtype=torch.uint8)
    return images, torch.randint(0, 2**62, (count,), generator=generator)


@pytest.mark.parametrize(("source", "side"), [(48, 48), (48, 32), (96, 32), (24, 32)])
def test_neither_order_nor_division_of_a_batch_changes_an_image(source: int, side: int) -> None:
    images, seeds = batch(side=source)
    whole = augment(images, seeds_B=seeds, side=side, settings=AugmentationConfig())
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(2))
    assert torch.equal(
        augment(images[order], seeds_B=seeds[order], side=side, settings=AugmentationConfig()), whole[order]
    )
    for size in (1, 5):
        parts = [
            augment(some, seeds_B=own, side=side, settings=AugmentationConfig())
            for some, own in zip(images.split(size), seeds.split(size), strict=True)
        ]
        assert torch.equal(torch.cat(parts), whole)


def test_another_seed_gives_another_image_and_the_global_generator_is_left_alone() -> None:
    images, seeds = batch()
    before = torch.get_rng_state()
    first = augment(images, seeds_B=seeds, side=32, settings=AugmentationConfig())
    second = augment(images, seeds_B=seeds + 1, side=32, settings=AugmentationConfig())
    assert torch.equal(before, torch.get_rng_state())
    assert all(not torch.equal(one, other) for one, other in zip(first, second, strict=True))


@given(seed=st.integers(-(2**63), 2**63 - 1), dark=st.booleans())
def test_values_stay_in_range_and_black_stays_black(seed: int, dark: bool) -> None:  # noqa: FBT001 - drawn, not passed
    images = torch.zeros(1, 16, 16) if dark else batch(1, 16)[0]
    strong = AugmentationConfig(gain=0.9, gamma=2, aspect_max=4, crop_scale_min=0.05)
    found = augment(images, seeds_B=torch.tensor([seed]), side=16, settings=strong)
    assert found.dtype == torch.float32
    assert found.shape == (1, 1, 16, 16)
    assert found.min() >= 0
    assert found.max() <= 1
    assert not dark or found.max() == 0


def test_with_every_range_closed_nothing_changes() -> None:
    images, seeds = batch()
    found = augment(images, seeds_B=seeds, side=48, settings=STILL)
    assert torch.allclose(found[:, 0], images / 255, atol=1e-5)  # positions round at 48 * 2**-24 px = 3e-6


def test_switched_off_it_only_resizes() -> None:
    images, seeds = batch()
    found = augment(images, seeds_B=seeds, side=32, settings=AugmentationConfig(enabled=False))
    assert torch.equal(found, to_float(images, side=32))


def test_a_certain_flip_mirrors() -> None:
    images, seeds = batch()
    mirrored = AugmentationConfig(crop_scale_min=1, crop_scale_max=1, aspect_max=1, flip=1, gain=0, gamma=0)
    found = augment(images, seeds_B=seeds, side=48, settings=mirrored)
    assert torch.allclose(found[:, 0], images.flip(2) / 255, atol=1e-5)  # positions round at 48 * 2**-24 px = 3e-6


def test_about_half_the_images_are_flipped() -> None:
    """Left half black, right half white: flipped where the first column is white."""
    images = torch.zeros(1000, 8, 8)
    images[:, :, 4:] = 1
    settings = AugmentationConfig(crop_scale_min=1, crop_scale_max=1, aspect_max=1, gain=0, gamma=0)
    found = augment(images, seeds_B=torch.arange(1000), side=8, settings=settings)
    # Standard deviation of the count: sqrt(1000 / 4) = 16; five of them are 80.
    assert (found[:, 0, 0, 0] > 0.5).sum().item() == pytest.approx(500, abs=80)


def test_crops_lie_inside_the_image_and_have_the_area_asked_for() -> None:
    """A horizontal and a vertical ramp show where the crop lies: value = (pixel + 1/2) / side at pixel centres."""
    side = 64
    ramp = (torch.arange(side) + 0.5) / side
    seeds = torch.arange(400)
    settings = AugmentationConfig(crop_scale_min=0.3, crop_scale_max=0.5, aspect_max=1.5, flip=0, gain=0, gamma=0)
    across = augment(ramp.expand(400, side, side), seeds_B=seeds, side=side, settings=settings)[:, 0]
    down = augment(ramp[:, None].expand(400, side, side), seeds_B=seeds, side=side, settings=settings)[:, 0]
    # From the first to the last pixel centre are side - 1 steps of width / side.
    width = (across[:, 5, -2] - across[:, 5, 1]) * side / (side - 3)
    height = (down[:, -2, 5] - down[:, 1, 5]) * side / (side - 3)
    area, aspect = width * height, width / height
    assert 0.3 - 1e-3 < area.min() < 0.32
    assert 0.48 < area.max() < 0.5 + 1e-3
    assert 1 / 1.5 - 1e-2 < aspect.min() < 0.7
    assert 1.43 < aspect.max() < 1.5 + 1e-2


def test_a_long_crop_is_cut_to_the_image() -> None:
    """Nearly the whole area at an aspect ratio of up to 3 would be wider than the image: the edge would be repeated."""
    side = 64
    ramp = (torch.arange(side) + 0.5) / side
    settings = AugmentationConfig(crop_scale_min=0.9, aspect_max=3, flip=0, gain=0, gamma=0)
    found = augment(ramp.expand(200, side, side), seeds_B=torch.arange(200), side=side, settings=settings)[:, 0, 5]
    steps = found.diff(dim=1)
    assert steps.max() <= 1 / side + 1e-5
    assert steps[:, 1:-1].min() > 0.1 / side  # an edge that is repeated has steps of zero


def test_shrinking_averages_instead_of_skipping() -> None:
    """Stripes of one pixel at 256 px are uniform grey at 32 px; without antialiasing contrast would stay."""
    images = (torch.arange(256) % 2).float().expand(4, 256, 256)
    for found in (
        to_float(images, side=32),
        augment(images, seeds_B=torch.arange(4), side=32, settings=AugmentationConfig(gain=0, gamma=0)),
    ):
        assert found[:, :, :, 2:-2].std() < 0.03
        assert found.mean() == pytest.approx(0.5, abs=0.02)


def test_numbers_of_one_image_are_uniform_and_unrelated() -> None:
    """Consecutive seeds are the hardest case for a counter; the brightness of a uniform image shows the gain."""
    images = torch.full((4000, 4, 4), 0.5)
    settings = AugmentationConfig(flip=0, gain=0.5, gamma=0)
    gain = augment(images, seeds_B=torch.arange(4000), side=4, settings=settings)[:, 0, 0, 0] / 0.5
    counts = torch.histc(gain, bins=10, min=0.5, max=1.5)
    # Standard deviation of a bin's count: sqrt(4000 * 0.1 * 0.9) = 19; five of them are 95.
    assert counts.tolist() == pytest.approx([400] * 10, abs=95)
    assert abs(torch.corrcoef(torch.stack([gain[:-1], gain[1:]]))[0, 1]) < 0.08


def test_floats_of_zero_to_one_are_taken_as_they_are() -> None:
    images, _ = batch()
    assert torch.allclose(to_float(images / 255, side=48), to_float(images, side=48))


def test_every_range_is_checked_and_all_are_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        AugmentationConfig(crop_scale_min=0.9, crop_scale_max=0.5, aspect_max=0.5, flip=2, gain=1, gamma=-1)
    assert len(caught.value.problems) == 5


def test_a_mask_follows_its_image_pixel_by_pixel_wherever_it_is_cropped_and_flipped() -> None:
    """The image is the mask, in squares of 8 pixels: away from their borders both say the same."""
    blocks = torch.randint(0, 2, (40, 6, 6), generator=torch.Generator().manual_seed(3))
    masks = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.uint8)
    settings, seeds = AugmentationConfig(gain=0, gamma=0), torch.arange(40)
    images = augment(masks * 255, seeds_B=seeds, side=48, settings=settings)
    found = augment_mask(masks, seeds_B=seeds, side=48, settings=settings)
    assert found.dtype == torch.float32
    assert found.shape == images.shape == (40, 1, 48, 48)
    assert set(found.unique().tolist()) == {0, 1}
    sure = (images < 1e-3) | (images > 1 - 1e-3)
    assert sure.float().mean() > 0.6
    assert torch.equal(found[sure], (images > 0.5).float()[sure])
    assert not torch.equal(found[:, 0], masks.float())


def test_the_geometry_of_a_mask_does_not_depend_on_how_much_its_image_was_shrunk() -> None:
    """Left half inside, 256 px: the border lies where the bright half of the image ends."""
    masks = torch.zeros(20, 256, 256, dtype=torch.uint8)
    masks[:, :, :128] = 1
    settings, seeds = AugmentationConfig(gain=0, gamma=0), torch.arange(20)
    images = augment(masks * 255, seeds_B=seeds, side=32, settings=settings)
    found = augment_mask(masks, seeds_B=seeds, side=32, settings=settings)
    assert (found - images).abs().mean(dim=(1, 2, 3)).max() < 1 / 32


def test_switched_off_a_mask_is_only_resized_to_nearest_pixels() -> None:
    masks = torch.tensor([[[0, 0, 0, 1, 1, 1]] * 6])
    small = augment_mask(masks, seeds_B=torch.arange(1), side=2, settings=AugmentationConfig(enabled=False))
    assert small.tolist() == [[[[0.0, 1.0], [0.0, 1.0]]]]
    assert torch.equal(to_mask(masks, side=6)[:, 0], masks.float())


def test_standardized_images_have_mean_0_and_deviation_1_each() -> None:
    images = torch.tensor([[[[0.2, 0.4]]], [[[0.5, 0.5]]]])
    found = standardize(images)
    # mean 0.3, deviation 0.1, and 0.001 for flat images
    assert found[0, 0, 0].tolist() == pytest.approx([-0.1 / 0.101, 0.1 / 0.101], abs=1e-5)
    mean, scale = (part.flatten().tolist() for part in units_of(images))
    assert (mean, scale) == (pytest.approx([0.3, 0.5]), pytest.approx([0.101, 0.001]))
    assert found[1].tolist() == [[[0.0, 0.0]]]
