"""The encoder's weights in timm's layout, and back: its BEiT for relative positions, its ViT for absolute ones.

timm's `Beit(use_rel_pos_bias=False, use_shared_rel_pos_bias=True, init_values=0.1)` with 12 blocks has 186 tensors;
they are those of the released USFM checkpoint without its `mask_token` and its index buffer. Coverage is full or it is
an error.

Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models, `timm/models/beit.py` and
`timm/models/vision_transformer.py`.
"""

import math
import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from core.errors import CheckpointError

_WHOLE = {
    "patch_embed.projection.weight": "patch_embed.proj.weight",
    "patch_embed.projection.bias": "patch_embed.proj.bias",
    "cls_token.weight": "cls_token",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
}
_IN_BLOCK = (
    *(f"norm{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")),
    "attn.qkv.weight",
    *(f"{layer}.{kind}" for layer in ("attn.proj", "mlp.fc1", "mlp.fc2") for kind in ("weight", "bias")),
)
"""Names that are the same on both sides."""
_RELATIVE = {"rel_pos_bias.table.weight": "rel_pos_bias.relative_position_bias_table"}
_RELATIVE_BLOCK = {"attn.qv_bias.q": "attn.q_bias", "attn.qv_bias.v": "attn.v_bias"}
_RELATIVE_SCALE = {"scale1.weight": "gamma_1", "scale2.weight": "gamma_2"}
_ABSOLUTE = {"pos_embed.weight": "pos_embed"}
_ABSOLUTE_BLOCK = {"attn.qkv.bias": "attn.qkv.bias"}
_ABSOLUTE_SCALE = {"scale1.weight": "ls1.gamma", "scale2.weight": "ls2.gamma"}
_BLOCK = re.compile(r"blocks\.(0|[1-9]\d{0,3})\.(.+)")


def depth_of(names: Iterable[str]) -> int:
    """The number of blocks that the names of either side speak of."""
    return max((int(match[1]) + 1 for name in names if (match := _BLOCK.fullmatch(name))), default=0)


def is_absolute(names: Iterable[str]) -> bool:
    """Whether the names of either side are a plain ViT's: an embedding of places, or one bias for q, k and v."""
    return any(name.startswith("pos_embed") or name.endswith(".attn.qkv.bias") for name in names)


def is_scaled(names: Iterable[str]) -> bool:
    """Whether the names of either side have a LayerScale."""
    return any(re.search(r"\.(scale[12]\.weight|gamma_[12]|ls[12]\.gamma)$", name) for name in names)


def timm_names(*, depth: int, absolute: bool, scaled: bool) -> dict[str, str]:
    """Each of an encoder's names, and what timm calls it."""
    in_block = {name: name for name in _IN_BLOCK} | (_ABSOLUTE_BLOCK if absolute else _RELATIVE_BLOCK)
    if scaled:
        in_block |= _ABSOLUTE_SCALE if absolute else _RELATIVE_SCALE
    names = _WHOLE | (_ABSOLUTE if absolute else _RELATIVE)
    blocks = (f"blocks.{number}." for number in range(depth))
    return names | {block + ours: block + theirs for block in blocks for ours, theirs in in_block.items()}


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An encoder's `state_dict()` with timm's names and shapes; the tensors are views, not copies.

    Raises:
        CheckpointError: a name is missing or not one of the encoder's.
    """
    renamed = _rename(state, _names_for(state))
    weight = renamed["patch_embed.proj.weight"]
    width, inputs = weight.shape
    # One channel exactly when P^2 inputs make a square: 3 P^2 never is one.
    channels = 1 if math.isqrt(inputs) ** 2 == inputs else 3
    patch = math.isqrt(inputs // channels)
    renamed["patch_embed.proj.weight"] = weight.reshape(width, channels, patch, patch)
    renamed["cls_token"] = renamed["cls_token"].reshape(1, 1, width)
    if "pos_embed" in renamed:
        renamed["pos_embed"] = renamed["pos_embed"][None]
    return renamed


def from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A timm `Beit` or `VisionTransformer` state with this encoder's names and shapes; views, not copies.

    Raises:
        CheckpointError: a name is none of the layout's (a head, a per-block bias table, a mask token): drop it
        knowingly.
    """
    renamed = _rename(state, {theirs: ours for ours, theirs in _names_for(state).items()})
    renamed["patch_embed.projection.weight"] = renamed["patch_embed.projection.weight"].flatten(1)
    renamed["cls_token.weight"] = renamed["cls_token.weight"].flatten()
    if "pos_embed.weight" in renamed:
        renamed["pos_embed.weight"] = renamed["pos_embed.weight"].flatten(0, 1)
    return renamed


def _names_for(state: Mapping[str, Tensor]) -> dict[str, str]:
    return timm_names(depth=depth_of(state), absolute=is_absolute(state), scaled=is_scaled(state))


def _rename(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    unknown = sorted(set(state) - set(names))
    missing = sorted(names[name] for name in set(names) - set(state))
    if unknown or missing:
        raise CheckpointError(f"not a whole encoder: unknown {unknown}; missing {missing}")
    return {names[name]: tensor for name, tensor in state.items()}
