"""Weights load whole, with the features of the library they come from, or are refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from core.errors import CheckpointError, ConfigError
from core.models.checkpoint_file import sha256_of
from core.models.normalization import HALF, IMAGENET, PER_IMAGE
from core.models.weights import KNOWN, Loaded, load_encoder

ALL = ("release", "usfm", "timm-beit", "beit-per-block", "mae", "urfm", "timm-vit")
PLAIN = ("mae", "urfm", "timm-vit")


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """(content, name) -> the file."""

    def write(content: dict[str, Any], name: str = "weights.pth") -> Path:
        (save_file if name.endswith(".safetensors") else torch.save)(content, tmp_path / name)
        return tmp_path / name

    return write


def _load(path: Path, **options: Any) -> Loaded:
    return load_encoder(path, **{"heads": 2, **options})  # a plain ViT 16 wide is no published one


def _weights(content: dict[str, Any]) -> dict[str, Tensor]:
    """Where the tensors lie that are taken."""
    return next((content[key] for key in ("ema_state_dict", "model") if isinstance(content.get(key), dict)), content)


@pytest.mark.parametrize("layout", ALL)
def test_each_layout_is_recognized_by_its_keys(layouts: Any, save: Any, layout: str) -> None:
    loaded = _load(save(layouts.content(layout)))
    assert loaded.layout == layout
    assert loaded.normalization == (PER_IMAGE if layout == "release" else IMAGENET)
    assert loaded.sha256 == sha256_of(Path(loaded.path))
    assert loaded.encoder.config.grid == 3
    assert loaded.encoder.config.plain == (layout in PLAIN)


@pytest.mark.parametrize("layout", ALL)
def test_features_are_those_of_the_library_that_made_the_weights(layouts: Any, save: Any, layout: str) -> None:
    theirs = layouts.release if layout == "release" else layouts.vit() if layout in PLAIN else layouts.beit()
    images = torch.rand(3, 3, 12, 12)
    with torch.no_grad():
        expected = theirs(images) if layout == "release" else theirs.forward_features(images)
        torch.testing.assert_close(_load(save(layouts.content(layout))).encoder(images), expected, rtol=1e-5, atol=1e-5)


def test_safetensors_hold_the_same(layouts: Any, save: Any) -> None:
    one, two = (_load(save(layouts.usfm(), name)).encoder.state_dict() for name in ("a.pth", "a.safetensors"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_released_layout_has_188_tensors_of_which_two_are_dropped(layouts: Any, save: Any) -> None:
    state = layouts.usfm(depth=12)
    assert len(state) == 12 * 15 + 8 == 188
    loaded = load_encoder(save(state))
    assert set(loaded.dropped) == {"mask_token", "rel_pos_bias.relative_position_index"}
    assert len(loaded.encoder.state_dict()) == 186
    assert "CC-BY-NC 4.0" in loaded.licence


def test_every_dropped_key_has_its_reason(layouts: Any, save: Any) -> None:
    dropped = _load(save(layouts.urfm())).dropped
    assert {"mask_token", "decoder_embed.weight", "decoder_pos_embed", "model", "epoch", "state_dict"} <= set(dropped)
    assert dropped["decoder_pos_embed"] == "part of a pretraining decoder"
    assert dropped["state_dict"] == "stands beside the weights, which are below ema_state_dict"
    assert set(_load(save(layouts.content("timm-vit"))).dropped) == {"head.weight", "head.bias"}


def test_all_tensors_of_another_shape_or_without_finite_values_are_listed(layouts: Any, save: Any) -> None:
    state = layouts.usfm()
    state["blocks.0.mlp.fc1.weight"] = torch.rand(16, 64)
    state["blocks.1.norm2.bias"] = torch.full((16,), torch.nan)
    state["blocks.1.gamma_1"] = torch.ones(16, dtype=torch.int64)
    with pytest.raises(CheckpointError) as caught:
        load_encoder(save(state))
    text = str(caught.value)
    assert "blocks.0.mlp.fc1.weight has shape (16, 64), expected (64, 16) (transposed)" in text
    assert "blocks.1.norm2.bias: 16 of 16 values are not finite" in text
    assert "blocks.1.gamma_1 is int64, expected floating point" in text


def test_half_precision_becomes_float32_and_an_overflow_is_refused(layouts: Any, save: Any) -> None:
    state = {key: value.bfloat16() if value.is_floating_point() else value for key, value in layouts.usfm().items()}
    encoder = load_encoder(save(state)).encoder
    assert {value.dtype for value in encoder.state_dict().values()} == {torch.float32}
    assert torch.equal(encoder.norm.weight, state["norm.weight"].float())
    state["norm.bias"] = torch.full((16,), 1e300, dtype=torch.float64)
    with pytest.raises(CheckpointError, match=r"norm\.bias: 16 of 16 values are not finite in float32"):
        load_encoder(save(state))


def test_bias_rows_in_another_order_are_refused(layouts: Any, save: Any) -> None:
    state = layouts.usfm()
    state["rel_pos_bias.relative_position_index"] = state["rel_pos_bias.relative_position_index"].T.contiguous()
    with pytest.raises(CheckpointError, match=r"relative_position_index orders the bias rows otherwise"):
        load_encoder(save(state))


def test_tables_that_differ_between_blocks_are_refused(layouts: Any, save: Any) -> None:
    state = layouts.per_block()
    state["blocks.1.attn.relative_position_bias_table"][0, 0] += 1
    with pytest.raises(CheckpointError, match=r"blocks\.1\.attn\.relative_position_bias_table.* differ"):
        load_encoder(save(state))


def test_a_plain_vit_of_an_unknown_width_needs_its_heads(layouts: Any, save: Any) -> None:
    with pytest.raises(CheckpointError, match="number of heads of a plain ViT 16 wide is not in the file; give"):
        load_encoder(save(layouts.content("timm-vit")))


@pytest.mark.parametrize("content", [{}, {"a": 1}, {"fc.weight": torch.ones(1)}, {"model": {}}, {1: torch.ones(1)}])
def test_what_is_no_vision_transformer_is_refused(save: Any, content: dict[Any, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"weights\.pth"):
        load_encoder(save(content))


def test_a_tensor_that_claims_more_values_than_it_has_is_refused(layouts: Any, save: Any) -> None:
    state = layouts.usfm()
    state["norm.weight"] = torch.ones(1).expand(10**9)
    with pytest.raises(CheckpointError, match=r"no plain tensors by name.*norm\.weight"):
        load_encoder(save(state))


def test_another_digest_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"abc")
    with pytest.raises(CheckpointError, match=r"SHA-256 is ba7816bf.*expected 00"):
        load_encoder(path, sha256="00" * 32)


def test_the_right_digest_is_accepted(layouts: Any, save: Any) -> None:
    path = save(layouts.usfm())
    assert load_encoder(path, sha256=sha256_of(path).upper()).sha256 == sha256_of(path)


def test_a_namesake_of_the_published_file_is_told_apart(layouts: Any, save: Any, monkeypatch: Any) -> None:
    path = save(layouts.usfm(), "USFM_latest.pth")
    assert load_encoder(path).notes == ("named USFM_latest.pth, but not the file whose digest third parties report",)
    monkeypatch.setitem(KNOWN, sha256_of(path), "USFM_latest.pth")
    assert load_encoder(path).notes == ("the file is USFM_latest.pth, by the digest that third parties report",)


@pytest.mark.parametrize("side", [8, 20, 56])
def test_another_side_resizes_the_table_and_keeps_its_last_three_rows(layouts: Any, save: Any, side: int) -> None:
    path, grid = save(layouts.usfm()), side // 4
    before, loaded = load_encoder(path), load_encoder(path, side=side)
    small, table = before.encoder.rel_pos_bias.table.weight, loaded.encoder.rel_pos_bias.table.weight
    assert table.shape == ((2 * grid - 1) ** 2 + 3, 2)
    assert torch.equal(table[-3:], small[-3:])
    # The offset of a patch to itself stands in the middle of an odd number of rows, before and after.
    torch.testing.assert_close(table[: (2 * grid - 1) ** 2][(2 * grid - 1) ** 2 // 2], small[:25][12])
    assert set(loaded.resized) == {"rel_pos_bias.table.weight"}
    assert before.resized == {}
    assert loaded.encoder(torch.rand(1, 1, side, side)).shape == (1, 1 + grid**2, 16)
    assert torch.equal(loaded.encoder.blocks[1].mlp.fc1.weight, before.encoder.blocks[1].mlp.fc1.weight)


def test_another_side_of_a_plain_vit_is_timms_own_resizing(layouts: Any, save: Any) -> None:
    theirs = layouts.vit()
    theirs.set_input_size(img_size=20)
    loaded, images = _load(save(layouts.content("timm-vit")), side=20), torch.rand(2, 3, 20, 20)
    with torch.no_grad():
        torch.testing.assert_close(loaded.encoder(images), theirs.forward_features(images), rtol=1e-5, atol=1e-5)
    assert loaded.resized == {"pos_embed.weight": "(10, 16) to (26, 16)"}


def test_a_side_that_no_patches_fill_is_refused(layouts: Any, save: Any) -> None:
    with pytest.raises(ConfigError, match="side 18 is no positive multiple"):
        load_encoder(save(layouts.usfm()), side=18)


def test_the_caller_may_know_the_normalization_better(layouts: Any, save: Any) -> None:
    path, grey = save(layouts.content("timm-beit")), torch.rand(2, 1, 12, 12)
    assert "ImageNet's statistics are assumed" in load_encoder(path).notes[0]
    loaded = load_encoder(path, normalization=HALF)
    assert loaded.notes == ()
    torch.testing.assert_close(loaded.prepare(grey), (2 * grey - 1).expand(-1, 3, -1, -1))
    with pytest.raises(ConfigError, match="choose one of"):
        load_encoder(path, normalization="other")


def test_loading_draws_nothing_and_stochastic_depth_can_be_set(layouts: Any, save: Any) -> None:
    path = save(layouts.usfm())
    before = torch.get_rng_state()
    loaded = load_encoder(path, drop_path=0.2)
    assert torch.equal(torch.get_rng_state(), before)
    assert loaded.encoder.blocks[1].drop_path.rate == 0.2


def test_provenance_is_json(layouts: Any, save: Any) -> None:
    told = load_encoder(save(layouts.usfm()), side=20).provenance()
    assert told["layout"] == "usfm"
    assert told["encoder"]["side"] == 20
    assert told["resized"] == {"rel_pos_bias.table.weight": "(28, 2) to (84, 2)"}
    assert told["notes"] == []
