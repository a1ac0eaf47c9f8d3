"""The encoder's weights in timm's BEiT layout, and back.

timm's `Beit(use_rel_pos_bias=False, use_shared_rel_pos_bias=True, init_values=0.1)` with 12 blocks has 186 tensors;
they are those of the released USFM checkpoint without its `mask_token` and its index buffer. Coverage is full or it is
an error.

Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models, `timm/models/beit.py`.
"""

import math
import re
from collections.abc import Mapping

from torch import Tensor

from core.errors import CheckpointError

_WHOLE = {
    "patch_embed.projection.weight": "patch_embed.proj.weight",
    "patch_embed.projection.bias": "patch_embed.proj.bias",
    "cls_token.weight": "cls_token",
    "rel_pos_bias.table.weight": "rel_pos_bias.relative_position_bias_table",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
}
_IN_BLOCK = {
    "attn.qv_bias.q": "attn.q_bias",
    "attn.qv_bias.v": "attn.v_bias",
    "scale1.weight": "gamma_1",
    "scale2.weight": "gamma_2",
} | {
    same: same
    for same in (
        *(f"norm{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")),
        "attn.qkv.weight",
        *(f"{layer}.{kind}" for layer in ("attn.proj", "mlp.fc1", "mlp.fc2") for kind in ("weight", "bias")),
    )
}
_BLOCK = re.compile(r"(blocks\.\d+\.)(.+)")


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An encoder's `state_dict()` with timm's names and shapes; the tensors are views, not copies.

    Raises:
        CheckpointError: a name is not one of the encoder's.
    """
    renamed = _rename(state, whole=_WHOLE, in_block=_IN_BLOCK)
    weight = renamed["patch_embed.proj.weight"]
    width, inputs = weight.shape
    # One channel exactly when P^2 inputs make a square: 3 P^2 never is one.
    channels = 1 if math.isqrt(inputs) ** 2 == inputs else 3
    patch = math.isqrt(inputs // channels)
    renamed["patch_embed.proj.weight"] = weight.reshape(width, channels, patch, patch)
    renamed["cls_token"] = renamed["cls_token"].reshape(1, 1, width)
    return renamed


def from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A timm `Beit` state with this encoder's names and shapes; the tensors are views, not copies.

    Raises:
        CheckpointError: a name is none of the layout's (a head, a per-block bias table, a mask token): drop it
        knowingly.
    """
    whole = {theirs: ours for ours, theirs in _WHOLE.items()}
    in_block = {theirs: ours for ours, theirs in _IN_BLOCK.items()}
    renamed = _rename(state, whole=whole, in_block=in_block)
    renamed["patch_embed.projection.weight"] = renamed["patch_embed.projection.weight"].flatten(1)
    renamed["cls_token.weight"] = renamed["cls_token.weight"].flatten()
    return renamed


def _rename(state: Mapping[str, Tensor], *, whole: dict[str, str], in_block: dict[str, str]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in state.items():
        match = _BLOCK.fullmatch(name)
        if match and match[2] in in_block:
            renamed[match[1] + in_block[match[2]]] = tensor
        elif name in whole:
            renamed[whole[name]] = tensor
        else:
            unknown.append(name)
    blocks = {match[1] for name in state if (match := _BLOCK.fullmatch(name))}
    wanted = {*whole.values(), *(block + name for block in blocks for name in in_block.values())}
    missing = sorted(wanted - renamed.keys())
    if unknown or missing:
        raise CheckpointError(f"not a whole encoder: unknown {sorted(unknown)}; missing {missing}")
    return renamed
