"""Every tensor of every layout is needed, no other is allowed, and none passes with its axes turned."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from core.errors import CheckpointError
from core.federation.tensors import state_of
from core.files import save_tensors
from core.models.checkpoint_layouts import find_encoder
from core.models.checkpoint_shapes import our_state, resize, shape_of
from core.models.encoder import EncoderConfig
from core.models.weights import load_encoder

ALL = ("release", "usfm", "timm-beit", "beit-per-block", "mae", "urfm", "timm-vit")


def _weights(content: dict[str, Any]) -> dict[str, Tensor]:
    """Where the tensors lie that are taken."""
    return next((content[key] for key in ("ema_state_dict", "model") if isinstance(content.get(key), dict)), content)


def _check(content: dict[str, Any]) -> EncoderConfig:
    found = find_encoder(content, name="weights.pth")
    return shape_of(found, document=None, heads=2, name="weights.pth")


def _needed(content: dict[str, Any]) -> list[str]:
    dropped = find_encoder(content, name="weights.pth").dropped
    return [key for key in _weights(content) if "table" in key or key not in dropped]


@pytest.mark.parametrize("layout", ALL)
def test_the_shapes_tell_the_configuration(layouts: Any, layout: str) -> None:
    config = _check(layouts.content(layout))
    shape = (config.width_, config.depth_, config.heads_, config.patch, config.side, config.channels)
    assert shape == (16, 2, 2, 4, 12, 3)
    assert (config.layer_scale > 0) == (not config.plain)


@pytest.mark.parametrize("layout", ALL)
def test_any_missing_key_is_named(layouts: Any, layout: str) -> None:
    for key in _needed(layouts.content(layout)):
        content = layouts.content(layout)
        del _weights(content)[key]
        named = key.split(".attn.relative")[0].replace(".", r"\.")  # of a block without its table, the block
        with pytest.raises(CheckpointError, match=named):
            _check(content)


@pytest.mark.parametrize("layout", ALL)
def test_an_extra_key_is_named_beside_those_dropped_on_purpose(layouts: Any, layout: str) -> None:
    content = layouts.content(layout)
    _weights(content)["blocks.1.attn.extra"] = torch.ones(2)
    with pytest.raises(CheckpointError, match=r"missing \[\]; unexpected \['blocks\.1\.attn\.extra'\]") as caught:
        _check(content)
    if layout in ("usfm", "mae", "urfm"):
        assert "dropped on purpose ['" in str(caught.value)
        assert "'mask_token'" in str(caught.value)


@pytest.mark.parametrize("layout", ALL)
def test_a_transposed_tensor_is_named(layouts: Any, layout: str) -> None:
    turned = 0
    for key in _needed(layouts.content(layout)):
        content = layouts.content(layout)
        tensor = _weights(content)[key]
        _weights(content)[key] = tensor.permute(*reversed(range(tensor.ndim))).contiguous()
        if _weights(content)[key].shape != tensor.shape:
            turned += 1
            with pytest.raises(CheckpointError, match=key.replace(".", r"\.")):
                _check(content)
    assert turned >= 2 * 3 + 2  # qkv, fc1 and fc2 of two blocks, the projection of patches, the positions


def test_a_vit_with_layer_scale_is_one_too(layouts: Any) -> None:
    assert _check(dict(layouts.vit(init_values=0.5).state_dict())).layer_scale > 0


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"width": 32}, "width_ 32, not 16"),
        ({"depth": 10**9}, "depth_ 1000000000, not 2"),
        ({"side": 4 * 10**9}, "side 4000000000, not 12"),
        ({"heads": 4}, "heads_ 4, not 2"),
        ({"layer_scale": 0.0}, "another LayerScale"),
        ({"width": "16"}, "names no encoder"),
        ({"unheard": 1}, "names no encoder"),
        ({"patch": 5}, "names no encoder"),
    ],
)
def test_a_document_that_its_tensors_contradict_is_refused(
    layouts: Any, tmp_path: Path, said: dict[str, Any], reason: str
) -> None:
    encoder = {"size": "custom", "width": 16, "depth": 2, "heads": 2, "patch": 4, "side": 12, "channels": 3}
    path, tensors = tmp_path / "encoder.safetensors", state_of(layouts.release)
    save_tensors(path, tensors, meta={"schema_version": 1, "encoder": encoder})
    assert load_encoder(path).encoder.config == EncoderConfig(**encoder)
    save_tensors(path, tensors, meta={"schema_version": 1, "encoder": encoder | said})
    with pytest.raises(CheckpointError, match=reason):
        load_encoder(path)


def test_a_table_goes_to_a_grid_and_back_to_a_constant(layouts: Any) -> None:
    found = find_encoder(layouts.usfm(), name="weights.pth")
    config, state = _check(layouts.usfm()), our_state(found)
    state["rel_pos_bias.table.weight"] = torch.cat([torch.full((25, 2), 0.5), torch.arange(6.0).reshape(3, 2)])
    larger, wanted = resize(state, config, side=28)
    assert wanted.grid == 7
    table = larger["rel_pos_bias.table.weight"]
    torch.testing.assert_close(table[:-3], torch.full((13 * 13, 2), 0.5))  # a constant is interpolated to itself
    assert table[-3:].flatten().tolist() == [0, 1, 2, 3, 4, 5]
    again, _ = resize(larger, wanted, side=12)
    torch.testing.assert_close(again["rel_pos_bias.table.weight"], state["rel_pos_bias.table.weight"])
