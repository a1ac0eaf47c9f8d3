"""Which layout a checkpoint has, told by its keys, and what of it belongs to the encoder.

Nothing is dropped in silence: every key that is left out has its reason, and every other must find its place.

| layout | told by |
|---|---|
| `release` | our own names |
| `usfm` | timm's BEiT names, one bias table for all blocks, and a mask token (SimMIM) |
| `timm-beit` | the same without a mask token |
| `beit-per-block` | a bias table in each block; taken if they are all alike |
| `urfm` | a plain ViT below `ema_state_dict`, `model` being a string |
| `mae` | a plain ViT with a decoder or a mask token |
| `timm-vit` | a plain ViT |
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.errors import CheckpointError
from core.models.timm_layout import is_absolute

_WRAPPERS = ("ema_state_dict", "state_dict_ema", "model_ema", "state_dict", "model")
"""Where the weights of a wrapped checkpoint lie, the first that is there; averaged (EMA) ones before the last."""
_DROPPED = {
    r"mask_token": "stands for hidden patches, in pretraining only",
    r"decoder_.+": "part of a pretraining decoder",
    r"(head|head_dist)\.(weight|bias)": "a classifier of other classes",
    r"(rel_pos_bias|blocks\.\d+\.attn)\.relative_position_index": "is computed from the grid; it was compared",
}
_INDEX = "relative_position_index"
_TABLE = "rel_pos_bias.relative_position_bias_table"
_BLOCK_TABLE = re.compile(r"blocks\.\d+\.attn\.relative_position_bias_table")
_COLLAPSED = "the same in every block: one table is kept for all"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A checkpoint's encoder in its own names and shapes."""

    layout: str
    """One of the table above."""
    state: dict[str, Tensor]
    """The encoder's tensors, and whatever else has no reason to be dropped."""
    dropped: dict[str, str]
    """Why each key that was left out was left out."""
    indices: dict[str, Tensor]
    """The file's own tables of relative positions, to be compared with ours."""


def find_encoder(content: Mapping[Any, Any], *, name: str) -> Found:
    """The encoder's part of a checkpoint.

    Args:
        content: What the file holds: tensors by name, or a wrapper.
        name: The file's, for messages.

    Raises:
        CheckpointError: there are no tensors by name, it is no vision transformer of a known layout, or bias tables of
            blocks differ.
    """
    tensors, wrapper, dropped = _unwrap(content, name=name)
    release = _is_release(tensors)
    for key in tensors:
        reason = next((why for pattern, why in _DROPPED.items() if re.fullmatch(pattern, key)), "")
        if reason and not release:
            dropped[key] = reason
    state = {key: tensor for key, tensor in tensors.items() if key not in dropped}
    indices = {key: tensors[key] for key in dropped if key.endswith(_INDEX) and key in tensors}
    layout = _layout(state, dropped, wrapper=wrapper, name=name)
    if layout == "beit-per-block":
        state = _collapse(state, dropped, name=name)
    return Found(layout=layout, state=state, dropped=dropped, indices=indices)


def _unwrap(content: Mapping[Any, Any], *, name: str) -> tuple[dict[str, Tensor], str, dict[str, str]]:
    """The tensors by name, the wrapper's key they lay under (empty for none), and why its other keys are left out."""
    wrapper = next((key for key in _WRAPPERS if isinstance(content.get(key), Mapping)), "")
    found = content[wrapper] if wrapper else content
    odd = [repr(key)[:80] for key, value in found.items() if not (isinstance(key, str) and _is_plain(value))]
    if odd or not found:
        raise CheckpointError(
            f"{name}: no plain tensors by name: {odd[:10] or 'empty'}; save a state_dict of them alone"
        )
    prefix = "module." if all(key.startswith("module.") for key in found) else ""
    tensors = {key.removeprefix(prefix): value.detach() for key, value in found.items()}
    beside = {str(key)[:80] for key in content if key != wrapper} if wrapper else set()
    return tensors, wrapper, dict.fromkeys(sorted(beside), f"stands beside the weights, which are below {wrapper}")


def _is_plain(value: object) -> bool:
    """A tensor with its values in the computer's memory, each of them stored."""
    if type(value) not in (Tensor, torch.nn.Parameter) or not isinstance(value, Tensor):
        return False
    if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _is_release(state: Mapping[str, Tensor]) -> bool:
    return any(key.startswith("patch_embed.projection.") or ".attn.qv_bias." in key for key in state)


def _layout(state: Mapping[str, Tensor], dropped: Mapping[str, str], *, wrapper: str, name: str) -> str:
    if _is_release(state):
        return "release"
    if not any(key.startswith("blocks.0.") for key in state):
        keys = sorted(state)[:8]
        raise CheckpointError(f"{name}: no vision transformer of a known layout; its first keys are {keys}")
    if any(_BLOCK_TABLE.fullmatch(key) for key in state):
        return "beit-per-block"
    if not is_absolute(state):
        return "usfm" if "mask_token" in dropped else "timm-beit"
    if wrapper == "ema_state_dict":
        return "urfm"
    return "mae" if any(key == "mask_token" or key.startswith("decoder_") for key in dropped) else "timm-vit"


def _collapse(state: Mapping[str, Tensor], dropped: dict[str, str], *, name: str) -> dict[str, Tensor]:
    """One bias table in place of equal ones in each block."""
    tables = {key: tensor for key, tensor in state.items() if _BLOCK_TABLE.fullmatch(key)}
    blocks = {key.split(".")[1] for key in state if key.startswith("blocks.")}
    without = sorted(
        f"blocks.{number}" for number in blocks if f"blocks.{number}.attn.{_TABLE.split('.')[1]}" not in tables
    )
    named, first = next(iter(tables.items()))
    unlike = sorted(key for key, table in tables.items() if not torch.equal(table, first))
    if without or unlike or _TABLE in state:
        found = f"{unlike} differ from {named}" if unlike else f"{without or 'a shared table'} beside tables in blocks"
        raise CheckpointError(f"{name}: this encoder has one bias table for all blocks, but {found}; take another file")
    dropped.update(dict.fromkeys(tables, _COLLAPSED))
    return {key: tensor for key, tensor in state.items() if key not in tables} | {_TABLE: first}
