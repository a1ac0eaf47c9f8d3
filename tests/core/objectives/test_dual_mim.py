"""Dual masked image modelling: per image, finite, ablatable, learnable, exact in what it hides."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from core.errors import ConfigError, DataError
from core.models.encoder import EncoderConfig, build_encoder
from core.objectives.dual_mim import DualMIM, ObjectiveConfig
from core.objectives.losses import focal_frequency

BOTH = ObjectiveConfig(decoder_width=16, decoder_heads=2, decoder_depth=1)


def _model(config: ObjectiveConfig = BOTH, *, side: int = 32, patch: int = 4) -> DualMIM:
    shape = EncoderConfig(size="custom", width=24, depth=2, heads=2, side=side, patch=patch)
    return DualMIM(build_encoder(shape, seed=0), config, seed=0)


def _images(count: int = 4, side: int = 32) -> Tensor:
    """Smooth waves of other directions and lengths, with a little noise, in [0, 1]."""
    generator = torch.Generator().manual_seed(7)
    line = torch.linspace(0, 3, side)
    across, down = torch.rand(2, count, 1, 1, generator=generator) * 4
    waves = torch.sin(across * line[None, None, :] + down * line[None, :, None] + 1.0)
    return (0.5 + 0.4 * waves + 0.05 * torch.rand(count, side, side, generator=generator))[:, None].clamp(0, 1)


SEEDS = torch.arange(4) + 100
VARIANTS = [
    replace(BOTH, corruption=corruption, tokens=tokens)
    for corruption, tokens in itertools.product(("both", "spatial", "frequency"), ("all", "visible"))
]


@pytest.mark.parametrize("config", VARIANTS, ids=lambda config: f"{config.corruption}-{config.tokens}")
@pytest.mark.parametrize(("side", "patch"), [(32, 4), (35, 7), (40, 8)])
def test_losses_and_gradients_are_finite(config: ObjectiveConfig, side: int, patch: int) -> None:
    model = _model(config, side=side, patch=patch)
    loss = model(_images(side=side), seeds_B=SEEDS)
    assert [part.shape for part in loss] == [(4,)] * 3
    assert all(part.dtype == torch.float32 for part in loss)
    loss.total_B.mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("config", VARIANTS, ids=lambda config: f"{config.corruption}-{config.tokens}")
def test_an_images_loss_does_not_depend_on_the_others(config: ObjectiveConfig) -> None:
    model, images = _model(config), _images()
    together = model(images, seeds_B=SEEDS)
    shuffled = model(images[[2, 0, 3, 1]], seeds_B=SEEDS[[2, 0, 3, 1]])
    for row in range(4):
        alone = model(images[row : row + 1], seeds_B=SEEDS[row : row + 1])
        for part in range(3):
            assert abs(alone[part][0] - together[part][row]) < 1e-6
            assert abs(shuffled[part][[1, 3, 0, 2][row]] - together[part][row]) < 1e-6


def test_a_wild_neighbour_changes_nothing() -> None:
    model, images = _model(), _images()
    wild = images.clone()
    wild[1:] = torch.rand(3, 1, 32, 32)
    seeds = torch.tensor([100, 1, 2, 3])
    assert abs(model(images, seeds_B=SEEDS).total_B[0] - model(wild, seeds_B=seeds).total_B[0]) < 1e-6


def test_ablations() -> None:
    images = _images()
    spatial = _model(replace(BOTH, corruption="spatial"))
    loss, made = spatial(images, seeds_B=SEEDS), spatial.reconstruct(images, seeds_B=SEEDS)
    assert torch.equal(loss.frequency_B, torch.zeros(4))
    assert torch.equal(loss.total_B, loss.spatial_B)
    assert not made.stopped_BSF.any()
    torch.testing.assert_close(made.filtered, images[:, 0])
    assert made.mask_BSS.any()

    frequency = _model(replace(BOTH, corruption="frequency"))
    loss, made = frequency(images, seeds_B=SEEDS), frequency.reconstruct(images, seeds_B=SEEDS)
    assert not made.mask_BSS.any()
    assert made.stopped_BSF.flatten(1).any(dim=1).all()
    assert torch.equal(made.corrupted, made.filtered)
    scale = images[:, 0].std(dim=(1, 2), correction=0) + 1e-3
    by_hand = (made.reconstructed - images[:, 0]).abs().mean(dim=(1, 2)) / scale
    torch.testing.assert_close(loss.spatial_B, by_hand, rtol=1e-4, atol=1e-5)

    without = _model(replace(BOTH, frequency_loss="none"))(images, seeds_B=SEEDS)
    assert torch.equal(without.total_B, without.spatial_B)


@pytest.mark.parametrize("tokens", ["all", "visible"])
def test_the_losses_are_those_of_the_reconstruction(tokens: str) -> None:
    config = replace(BOTH, tokens=tokens, frequency_weight=0.25)
    model, images = _model(config), _images()
    loss, made = model(images, seeds_B=SEEDS), model.reconstruct(images, seeds_B=SEEDS)
    scale = (images[:, 0].std(dim=(1, 2), correction=0) + 1e-3)[:, None, None]
    difference = (made.reconstructed - images[:, 0]) / scale
    hidden = torch.stack([row[mask].abs().mean() for row, mask in zip(difference, made.mask_BSS, strict=True)])
    torch.testing.assert_close(loss.spatial_B, hidden, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loss.frequency_B, focal_frequency(difference), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(loss.total_B, loss.spatial_B + 0.25 * loss.frequency_B)


def test_spatial_loss_on_all_pixels() -> None:
    model, images = _model(replace(BOTH, spatial_loss_on="all")), _images()
    made = model.reconstruct(images, seeds_B=SEEDS)
    scale = images[:, 0].std(dim=(1, 2), correction=0) + 1e-3
    by_hand = (made.reconstructed - images[:, 0]).abs().mean(dim=(1, 2)) / scale
    torch.testing.assert_close(model(images, seeds_B=SEEDS).spatial_B, by_hand, rtol=1e-4, atol=1e-5)


def test_hidden_blocks_hold_the_mean_and_the_rest_is_filtered() -> None:
    images = _images()
    made = _model().reconstruct(images, seeds_B=SEEDS)
    blocks = made.mask_BSS.reshape(4, 4, 8, 4, 8).float()  # blocks of 2 x 2 patches of 4 pixels
    assert torch.equal(blocks.amin(dim=(2, 4)), blocks.amax(dim=(2, 4)))
    assert made.mask_BSS.flatten(1).sum(dim=1).tolist() == [10 * 64] * 4  # ceil(0.6 * 16) = 10 blocks of 64 pixels
    for image, corrupted, filtered, mask in zip(images, made.corrupted, made.filtered, made.mask_BSS, strict=True):
        torch.testing.assert_close(corrupted[mask], image.mean().expand(int(mask.sum())))
        assert torch.equal(corrupted[~mask], filtered[~mask])
    spectrum = torch.fft.rfft2(made.filtered)
    assert spectrum[made.stopped_BSF].abs().max() < 1e-3
    torch.testing.assert_close(
        spectrum[~made.stopped_BSF], torch.fft.rfft2(images[:, 0])[~made.stopped_BSF], rtol=1e-3, atol=1e-3
    )


def test_the_encoder_sees_nothing_of_hidden_patches() -> None:
    model, images = _model(replace(BOTH, corruption="spatial")), _images(1)
    before = model.reconstruct(images, seeds_B=SEEDS[:1])
    mask = before.mask_BSS[:, None]
    # Other values in hidden pixels, with the same mean and deviation: turned about their middle.
    changed = images.clone()
    changed[mask] = images[mask].flip(0)
    after = model.reconstruct(changed, seeds_B=SEEDS[:1])
    torch.testing.assert_close(after.reconstructed, before.reconstructed, rtol=1e-4, atol=1e-5)


def test_brightness_and_contrast_do_not_change_the_loss() -> None:
    model, images = _model(), _images()
    dim = model(0.5 * images + 0.2, seeds_B=SEEDS).total_B
    # Only the floor of 0.001 on the deviation tells them apart.
    torch.testing.assert_close(dim, model(images, seeds_B=SEEDS).total_B, rtol=2e-2, atol=0)


def test_a_flat_image_is_finite() -> None:
    assert torch.isfinite(_model()(torch.full((1, 1, 32, 32), 0.3), seeds_B=SEEDS[:1]).total_B).all()


def test_bfloat16_autocast_keeps_losses_in_float32_and_close() -> None:
    model, images = _model(), _images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = model(images, seeds_B=SEEDS)
    assert low.total_B.dtype == torch.float32
    torch.testing.assert_close(low.total_B, model(images, seeds_B=SEEDS).total_B, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("config", VARIANTS, ids=lambda config: f"{config.corruption}-{config.tokens}")
def test_eight_images_can_be_learnt(config: ObjectiveConfig) -> None:
    model, images, seeds = _model(config), _images(8), torch.arange(8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(90):
        loss = model(images, seeds_B=seeds).total_B.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_every_parameter_is_in_a_leaf_and_buffers_are_not_saved() -> None:
    model = _model()
    for name, module in model.named_modules():
        assert not (list(module.parameters(recurse=False)) and list(module.children())), name
    assert model.state_dict().keys() == dict(model.named_parameters()).keys()


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        ObjectiveConfig(corruption="noise", mask_ratio=1.0, ring_growth=1.0, decoder_width=30, decoder_depth=8)
    assert len(caught.value.problems) == 6  # the width is neither a multiple of 4 nor of the 4 heads


def test_a_task_that_hides_everything_or_stops_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="hides all"):
        _model(side=8, patch=4)
    with pytest.raises(ConfigError, match="lower ring_centre"):
        _model(replace(BOTH, ring_centre=0.49, mask_ratio=0.5), side=8, patch=2)


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError, match="32"):
        _model()(torch.rand(4, 1, 40, 40), seeds_B=SEEDS)
    with pytest.raises(DataError, match="seeds"):
        _model()(_images(), seeds_B=SEEDS[:3])
