"""Each image is made worse as its own seed says; each part does what its strength says, and nothing at 0."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.config import load
from core.data.degradation import DegradationConfig, degrade
from core.errors import ConfigError

OFF = DegradationConfig(blur_axial=0, blur_lateral=0, speckle=0, gain_drift=0, downsample=0, spread=0)
PARTS = {"blur_axial": 0.02, "blur_lateral": 0.03, "speckle": 0.7, "gain_drift": 9.0, "downsample": 0.6}


def batch(count: int = 6, side: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 1, side, side, generator=generator)
    return images, torch.randint(0, 2**62, (count,), generator=generator)


def amplitude(images: Tensor, *, decibels: float = 60) -> Tensor:
    """The module's log compression undone."""
    scale = 10 ** (decibels / 20) - 1
    return torch.expm1(images.double() * math.log1p(scale)) / scale


def test_with_every_strength_zero_nothing_changes_and_the_input_is_never_written_to() -> None:
    images, seeds = batch()
    before = images.clone()
    assert torch.equal(degrade(images, seeds_B=seeds, settings=OFF), images)
    degrade(images, seeds_B=seeds, settings=DegradationConfig())
    assert torch.equal(images, before)


@pytest.mark.parametrize("config", [DegradationConfig(), *(replace(OFF, **{p: s, "spread": 1}) for p, s in PARTS.items())])
def test_neither_order_nor_division_of_a_batch_changes_an_image(config: DegradationConfig) -> None:
    images, seeds = batch()
    whole = degrade(images, seeds_B=seeds, settings=config)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert torch.equal(degrade(images[order], seeds_B=seeds[order], settings=config), whole[order])
    for size in (1, 4):
        parts = [
            degrade(some, seeds_B=own, settings=config)
            for some, own in zip(images.split(size), seeds.split(size), strict=True)
        ]
        assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_alone_changes_images_and_with_another_seed_otherwise(part: str) -> None:
    images, seeds = batch()
    config = replace(OFF, **{part: PARTS[part], "spread": 0.5})
    one = degrade(images, seeds_B=seeds, settings=config)
    other = degrade(images, seeds_B=seeds + 1, settings=config)
    assert all(not torch.equal(a, b) for a, b in zip(one, images, strict=True))
    assert sum(not torch.equal(a, b) for a, b in zip(one, other, strict=True)) >= 4  # lost pixels may round alike


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(-(2**63), 2**63 - 1),
    level=st.sampled_from([0.0, 1e-6, 0.5, 1.0]),
    side=st.integers(2, 24),
)
def test_values_stay_in_range_and_black_stays_black(seed: int, level: float, side: int) -> None:
    strong = DegradationConfig(blur_axial=0.1, blur_lateral=0.1, speckle=1, gain_drift=30, downsample=0.9, spread=1)
    images = torch.full((1, 1, side, side), level)
    found = degrade(images, seeds_B=torch.tensor([seed]), settings=strong)
    assert found.dtype == torch.float32
    assert found.shape == images.shape
    assert torch.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert level or found.max() == 0


def test_the_global_generator_is_left_alone_and_an_empty_batch_is_one() -> None:
    before = torch.get_rng_state()
    images, seeds = batch()
    degrade(images, seeds_B=seeds, settings=DegradationConfig())
    assert torch.equal(before, torch.get_rng_state())
    assert degrade(images[:0], seeds_B=seeds[:0], settings=DegradationConfig()).shape == (0, 1, 32, 32)


def test_a_point_becomes_a_gaussian_of_the_asked_deviations() -> None:
    side = 64
    point = torch.zeros(1, 1, side, side)
    point[0, 0, 32, 32] = 1
    config = replace(OFF, blur_axial=0.03, blur_lateral=0.06)
    spread = amplitude(degrade(point, seeds_B=torch.tensor([1]), settings=config))[0, 0]
    place = torch.arange(side, dtype=torch.float64) - 32
    assert spread.sum().item() == pytest.approx(1, abs=1e-3)  # nothing is lost
    for axis, share in ((1, 0.03), (0, 0.06)):
        line = spread.sum(dim=axis)
        assert ((line * place**2).sum() / line.sum()).sqrt().item() == pytest.approx(share * side, rel=0.01)


def test_blur_leaves_an_even_image_even_up_to_its_border() -> None:
    even = torch.full((1, 1, 32, 32), 0.4)
    config = replace(OFF, blur_axial=0.1, blur_lateral=0.1)
    assert torch.allclose(degrade(even, seeds_B=torch.tensor([1]), settings=config), even, atol=1e-5)


def test_speckle_is_rayleigh_distributed_around_an_even_echo() -> None:
    # far below white, so that nothing is cut off; grains of one pixel
    even = torch.full((4, 1, 96, 96), 0.5)
    found = degrade(even, seeds_B=torch.arange(4), settings=replace(OFF, speckle=1))
    ratio = amplitude(found) / amplitude(even)
    assert ratio.square().mean().item() == pytest.approx(1, abs=0.02)
    # Rayleigh: signal to noise sqrt(pi / (4 - pi)) = 1.91; in decibels mean -10 gamma / ln 10, deviation 5.57
    assert (ratio.mean() / ratio.std()).item() == pytest.approx(math.sqrt(math.pi / (4 - math.pi)), rel=0.02)
    decibels = 20 * torch.log10(ratio)
    assert decibels.mean().item() == pytest.approx(-10 * 0.5772 / math.log(10), abs=0.1)
    assert decibels.std().item() == pytest.approx(10 / math.log(10) * math.pi / math.sqrt(6), rel=0.02)


def test_the_strength_of_speckle_scales_its_decibels() -> None:
    even = torch.full((4, 1, 64, 64), 0.5)
    deviation = {}
    for strength in (0.25, 0.5):
        ratio = amplitude(degrade(even, seeds_B=torch.arange(4), settings=replace(OFF, speckle=strength)))
        deviation[strength] = (20 * torch.log10(ratio)).std().item()
    assert deviation[0.25] == pytest.approx(deviation[0.5] / 2, rel=1e-3)


def test_grains_are_as_wide_as_the_point_spread() -> None:
    even = torch.full((8, 1, 64, 64), 0.5)
    config = replace(OFF, speckle=1, blur_axial=0.02, blur_lateral=0.05)
    ratio = amplitude(degrade(even, seeds_B=torch.arange(8), settings=config)) / amplitude(even)
    power = ratio.square() - ratio.square().mean()
    # the field's correlation at d pixels is exp(-d^2 / (4 deviation^2)), that of its power the square of this
    for shift, axis, deviation in ((2, 2, 0.02 * 64), (2, 3, 0.05 * 64)):
        found = (power * power.roll(shift, dims=axis)).mean() / power.square().mean()
        assert found.item() == pytest.approx(math.exp(-(shift**2) / (2 * deviation**2)), abs=0.08)


def test_gain_drifts_with_depth_alone_smoothly_and_by_no_more_decibels_than_asked() -> None:
    even = torch.full((5, 1, 64, 64), 0.5)
    found = degrade(even, seeds_B=torch.arange(5), settings=replace(OFF, gain_drift=6))
    decibels = 20 * torch.log10(amplitude(found) / amplitude(even))[:, 0]
    assert torch.allclose(decibels, decibels[:, :, :1].expand_as(decibels))
    assert decibels.abs().amax(dim=(1, 2)).tolist() == pytest.approx([6] * 5, rel=1e-3)
    assert decibels[:, :, 0].diff(dim=1).abs().max() < 6 * 3 * math.pi * 3 / 64  # three waves of at most 3 half turns


def test_losing_pixels_takes_away_what_is_finer_than_the_rest_can_show() -> None:
    columns = torch.arange(32) % 2
    stripes = columns.float().expand(1, 1, 32, 32).contiguous()
    found = degrade(stripes, seeds_B=torch.tensor([1]), settings=replace(OFF, downsample=0.5))
    assert found[..., 4:-4].std() < 0.05  # stripes of one pixel become grey
    halves = (torch.arange(32) >= 16).float().expand(1, 1, 32, 32).contiguous()
    kept = degrade(halves, seeds_B=torch.tensor([1]), settings=replace(OFF, downsample=0.5))
    assert torch.allclose(kept[..., :12], halves[..., :12], atol=1e-3)
    assert torch.allclose(kept[..., 20:], halves[..., 20:], atol=1e-3)


def test_strengths_of_images_spread_as_asked() -> None:
    even = torch.full((200, 1, 4, 4), 0.5)
    found = degrade(even, seeds_B=torch.arange(200), settings=replace(OFF, gain_drift=6, spread=0.5))
    largest = (20 * torch.log10(amplitude(found) / amplitude(even))).abs().amax(dim=(1, 2, 3))
    assert 3 <= largest.min() < 3.2
    assert 5.8 < largest.max() <= 6.001


def test_every_field_out_of_range_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        DegradationConfig(speckle=2, downsample=1.0, gain_drift=float("nan"))
    assert [problem.split(" = ")[0] for problem in caught.value.problems] == [
        "degradation.speckle", "degradation.gain_drift", "degradation.downsample",
    ]  # fmt: skip


def test_it_is_read_from_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("speckle: 0.25\n", encoding="utf-8")
    assert load(DegradationConfig, path=path, overrides=["spread=0"])[0] == DegradationConfig(speckle=0.25, spread=0)
