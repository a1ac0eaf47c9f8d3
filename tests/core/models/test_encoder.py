"""The encoder: sizes, seeds, visible patches only, parameters in leaves."""

import pytest
import torch
from torch.nn import functional

from core.errors import ConfigError, DataError
from core.models.encoder import Encoder, EncoderConfig, PlainConfig, build_encoder

SMALL = {"size": "custom", "width": 24, "depth": 2, "heads": 2}


def _encoder(*, side: int = 40, patch: int = 8, channels: int = 3) -> Encoder:
    encoder = build_encoder(EncoderConfig(**SMALL, side=side, patch=patch, channels=channels), seed=1)
    torch.manual_seed(3)
    torch.nn.init.normal_(encoder.rel_pos_bias.table.weight)
    for block in encoder.blocks:
        torch.nn.init.normal_(block.attn.qv_bias.q)
        torch.nn.init.normal_(block.attn.qv_bias.v)
        torch.nn.init.normal_(block.attn.qkv.weight, std=0.2)
    return encoder


@pytest.mark.parametrize(("size", "shape"), [("tiny", (192, 12, 3)), ("small", (384, 12, 6)), ("base", (768, 12, 12))])
def test_sizes(size: str, shape: tuple[int, int, int]) -> None:
    config = EncoderConfig(size=size)
    assert (config.width_, config.depth_, config.heads_) == shape
    assert config.grid == 14


def test_a_given_number_overrides_the_size() -> None:
    assert EncoderConfig(size="tiny", depth=6).depth_ == 6


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        EncoderConfig(size="huge", side=100, patch=16, channels=2, layer_scale=-0.1, drop_path=1.0)
    assert len(caught.value.problems) == 5


@pytest.mark.parametrize("fields", [{"size": "custom", "width": 64}, {"width": 100}, {"depth": -1}, {"side": 8}])
def test_shapes_that_cannot_be(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        EncoderConfig(**fields)


def test_the_seed_decides_and_the_global_generator_is_untouched() -> None:
    config = EncoderConfig(**SMALL, side=32, patch=8)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = (build_encoder(config, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["blocks.0.attn.qkv.weight"], other["blocks.0.attn.qkv.weight"])


def test_every_parameter_is_in_a_leaf_module() -> None:
    for name, module in _encoder().named_modules():
        own = list(module.parameters(recurse=False))
        assert not (own and list(module.children())), f"{name} has parameters and children"


@pytest.mark.parametrize("side", [16, 40, 56])
def test_grey_is_the_same_as_three_equal_channels(side: int) -> None:
    encoder, grey = _encoder(side=side), torch.rand(2, 1, side, side)
    assert torch.equal(encoder(grey), encoder(grey.expand(-1, 3, -1, -1)))
    assert encoder(grey).shape == (2, 1 + (side // 8) ** 2, 24)


def test_visible_only_is_full_attention_restricted_to_those_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, images = _encoder(), torch.rand(3, 1, 40, 40)
    visible = torch.stack([torch.randperm(25)[:9] for _ in range(3)])
    short = encoder(images, visible)

    # The same forward over all tokens, with minus infinity added for each image's hidden keys.
    allowed = torch.zeros(3, 26, dtype=torch.bool)
    allowed[:, 0] = True
    allowed.scatter_(1, visible + 1, value=True)
    bias = encoder.rel_pos_bias(None) + torch.zeros(3, 1, 1, 26).masked_fill(~allowed[:, None, None], -torch.inf)
    x = encoder.cls_token(encoder.patch_embed(images, None))
    for block in encoder.blocks:
        x = block(x, bias)
    full = encoder.norm(x)

    kept = torch.cat([torch.zeros(3, 1, dtype=torch.long), visible + 1], dim=1)
    expected = full.gather(1, kept[:, :, None].expand(-1, -1, 24))
    torch.testing.assert_close(short, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(short, encoder(images).gather(1, kept[:, :, None].expand(-1, -1, 24)), atol=1e-3)


def test_all_patches_named_equals_none_named() -> None:
    encoder, images = _encoder(), torch.rand(2, 1, 40, 40)
    torch.testing.assert_close(encoder(images, torch.arange(25).expand(2, -1)), encoder(images), rtol=1e-5, atol=1e-5)


def test_features_are_the_mean_of_patch_tokens() -> None:
    encoder, images = _encoder(), torch.rand(2, 1, 40, 40)
    torch.testing.assert_close(encoder.features(images), encoder(images)[:, 1:].sum(1) / 25)


def test_an_image_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match="40 x 40"):
        _encoder()(torch.rand(1, 1, 48, 48))
    with pytest.raises(DataError, match="1 or 3 channels"):
        _encoder()(torch.rand(1, 2, 40, 40))


def test_one_channel_layout() -> None:
    encoder = _encoder(channels=1)
    assert encoder.patch_embed.projection.in_features == 64
    assert encoder(torch.rand(1, 1, 40, 40)).shape == (1, 26, 24)


def test_attention_is_softmax_of_scaled_products_plus_bias() -> None:
    encoder, x = _encoder(), torch.rand(2, 26, 24)
    attention, bias = encoder.blocks[0].attn, encoder.rel_pos_bias(None)
    qkv_bias = torch.cat([attention.qv_bias.q, torch.zeros(24), attention.qv_bias.v])
    q, k, v = functional.linear(x, attention.qkv.weight, qkv_bias).reshape(2, 26, 3, 2, 12).permute(2, 0, 3, 1, 4)
    mixed = ((q @ k.transpose(-1, -2)) / 12**0.5 + bias).softmax(-1) @ v
    torch.testing.assert_close(attention(x, bias), attention.proj(mixed.transpose(1, 2).reshape(2, 26, 24)))


def test_a_plain_vit_adds_each_visible_patchs_own_place() -> None:
    encoder = build_encoder(PlainConfig(**SMALL, side=24, patch=8, layer_scale=0.0), seed=1)
    assert not [name for name in encoder.state_dict() if "rel_pos_bias" in name or "scale" in name or "qv_bias" in name]
    encoder.blocks = torch.nn.ModuleList()  # without attention each token follows from its own patch and place
    images, places = torch.rand(2, 1, 24, 24), encoder.pos_embed.weight
    tokens = encoder(images, torch.tensor([[7, 0], [3, 8]]))
    patch = encoder.patch_embed(images, None)
    torch.testing.assert_close(tokens[0, 1], encoder.norm(patch[0, 7] + places[8]))
    torch.testing.assert_close(tokens[1, 2], encoder.norm(patch[1, 8] + places[9]))
    torch.testing.assert_close(tokens[1, 0], encoder.norm(encoder.cls_token.weight + places[0]))
    assert places.std() > 0


def test_a_plain_vit_has_its_parameters_in_leaf_modules_too() -> None:
    for module in build_encoder(PlainConfig(**SMALL, side=24, patch=8), seed=1).modules():
        assert not (list(module.parameters(recurse=False)) and list(module.children()))
