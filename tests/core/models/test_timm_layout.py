"""Weights go to timm's BEiT and come back, and the features agree."""

import pytest
import torch
from timm.models.beit import Beit

from core.errors import CheckpointError
from core.models.encoder import Encoder, EncoderConfig, build_encoder
from core.models.timm_layout import from_timm, to_timm


def _timm(config: EncoderConfig) -> Beit:
    return Beit(
        img_size=config.side,
        patch_size=config.patch,
        in_chans=config.channels,
        embed_dim=config.width_,
        depth=config.depth_,
        num_heads=config.heads_,
        init_values=config.layer_scale,
        use_abs_pos_emb=False,
        use_rel_pos_bias=False,
        use_shared_rel_pos_bias=True,
        global_pool="token",
        num_classes=1,
    ).eval()


def _stir(module: torch.nn.Module) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)


CONFIGS = [
    EncoderConfig(size="tiny", depth=3, side=224, patch=16),
    EncoderConfig(size="custom", width=48, depth=4, heads=3, side=64, patch=8),
    EncoderConfig(size="custom", width=24, depth=2, heads=2, side=35, patch=7),
    EncoderConfig(size="custom", width=24, depth=2, heads=2, side=40, patch=8, channels=1),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_ours_loaded_into_timm_gives_equal_features(config: EncoderConfig) -> None:
    ours, theirs = build_encoder(config, seed=0).eval(), _timm(config)
    _stir(ours)
    report = theirs.load_state_dict(to_timm(ours.state_dict()), strict=False)
    assert sorted(report.missing_keys) == ["head.bias", "head.weight"]
    assert report.unexpected_keys == []
    _compare(ours, theirs, config)


@pytest.mark.parametrize("config", CONFIGS)
def test_timm_loaded_into_ours_gives_equal_features(config: EncoderConfig) -> None:
    ours, theirs = build_encoder(config, seed=0).eval(), _timm(config)
    _stir(theirs)
    state = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("head.")}
    ours.load_state_dict(from_timm(state), strict=True)
    _compare(ours, theirs, config)


def _compare(ours: Encoder, theirs: Beit, config: EncoderConfig) -> None:
    images = torch.rand(2, config.channels, config.side, config.side)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs.forward_features(images), rtol=1e-5, atol=1e-5)


def test_twelve_blocks_have_the_released_186_tensors() -> None:
    config = EncoderConfig(size="base")
    with torch.device("meta"):
        ours = to_timm(Encoder(config).state_dict())
    assert len(ours) == 12 * 15 + 6 == 186
    assert sum(tensor.numel() for tensor in ours.values()) == 85_666_128 - 768  # the released count, less mask_token
    assert ours["cls_token"].shape == (1, 1, 768)
    assert ours["patch_embed.proj.weight"].shape == (768, 3, 16, 16)
    assert ours["rel_pos_bias.relative_position_bias_table"].shape == (732, 12)


def test_there_and_back_changes_nothing() -> None:
    state = build_encoder(CONFIGS[1], seed=0).state_dict()
    back = from_timm(to_timm(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_a_part_of_an_encoder_is_refused() -> None:
    state = to_timm(build_encoder(CONFIGS[1], seed=0).state_dict())
    with pytest.raises(CheckpointError, match="mask_token"):
        from_timm(state | {"mask_token": torch.zeros(1, 1, 48)})
    del state["blocks.2.gamma_1"]
    with pytest.raises(CheckpointError, match=r"missing.*blocks\.2\.scale1\.weight"):
        from_timm(state)
