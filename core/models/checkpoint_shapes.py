"""An encoder's configuration from the shapes of its tensors, and whether they and their values fit it.

A square tensor that was transposed cannot be told from its shape; every other one is refused by name.

Legend: D width, C channels, P patch side, G grid side, H heads.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from core.errors import CheckpointError, ConfigError
from core.models.checkpoint_layouts import Found
from core.models.encoder import Encoder, EncoderConfig, PlainConfig
from core.models.layers import RelativePositionBias
from core.models.timm_layout import depth_of, from_timm, is_absolute, is_scaled, timm_names, to_timm

_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
"""Heads of the published plain ViTs by width; no tensor of theirs tells."""
_SHAPE = ("width_", "depth_", "heads_", "patch", "side", "channels")


def shape_of(found: Found, *, document: Mapping[str, Any] | None, heads: int, name: str) -> EncoderConfig:
    """The configuration that a checkpoint's tensors, all of them, were made with.

    Args:
        found: The encoder's part of the file.
        document: That of a release of ours, which says it; None to tell from the shapes.
        heads: Of a plain ViT whose width is not a published one's; 0 if unknown.
        name: The file's, for messages.

    Raises:
        CheckpointError: keys are missing or unexpected, shapes or values do not fit; all are listed.
    """
    names = _whole(found, name=name)
    config = _deduced(found, names, heads=heads or _heads_in(document), name=name)
    if document is not None:
        config = _told(document, deduced=config, name=name)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):  # a layer draws its first weights even there
        expected = Encoder(config).state_dict()
    problems = _unfit(found.state, expected if found.layout == "release" else to_timm(expected))
    problems += _unlike_indices(found.indices, config)
    if problems:
        raise CheckpointError("\n  - ".join([f"{name}: does not fit its encoder ({found.layout})", *problems]))
    return config


def our_state(found: Found) -> dict[str, Tensor]:
    """The tensors under the encoder's names, in float32; of a `Found` that `shape_of` has passed."""
    state = found.state if found.layout == "release" else from_timm(found.state)
    return {key: tensor.to(torch.float32) for key, tensor in state.items()}


def resize(state: Mapping[str, Tensor], config: EncoderConfig, *, side: int) -> tuple[dict[str, Tensor], EncoderConfig]:
    """The same encoder for images of another side: what depends on the grid is interpolated (bicubic).

    The three rows of the class token, and its position's vector, are kept as they are. timm's other way, cubic in a
    geometric progression, keeps only offsets near the centre when the grid shrinks, and the installed version indexes
    tensors in a way that torch has deprecated.

    Raises:
        ConfigError: `side` is no multiple of the patch.
    """
    # Here, so that a program that loads no weights does not wait for timm.
    from timm.layers.pos_embed import resample_abs_pos_embed
    from timm.layers.pos_embed_rel import resize_rel_pos_bias_table_simple

    resized, wanted = dict(state), replace(config, side=side)
    grid = (wanted.grid, wanted.grid)
    if config.plain:
        embedding = resample_abs_pos_embed(state["pos_embed.weight"][None], list(grid), [config.grid, config.grid])
        resized["pos_embed.weight"] = embedding[0].contiguous()
    else:
        rows = ((2 * wanted.grid - 1) ** 2 + 3, config.heads_)
        table = resize_rel_pos_bias_table_simple(state["rel_pos_bias.table.weight"], grid, rows)
        resized["rel_pos_bias.table.weight"] = table.contiguous()
    return resized, wanted


def _whole(found: Found, *, name: str) -> dict[str, str]:
    """Our names and the file's, when every one is there and no other."""
    absolute, scaled = is_absolute(found.state), is_scaled(found.state)
    names = timm_names(depth=depth_of(found.state), absolute=absolute, scaled=scaled)
    if found.layout == "release":
        names = {ours: ours for ours in names}
    wanted = set(names.values())
    missing, unexpected = sorted(wanted - set(found.state)), sorted(set(found.state) - wanted)
    if missing or unexpected:
        raise CheckpointError(
            f"{name}: not a whole encoder ({found.layout}): missing {missing}; unexpected {unexpected}; dropped on "
            f"purpose {sorted(found.dropped)}. Take the file of a pretrained encoder as its authors published it"
        )
    return names


def _heads_in(document: Mapping[str, Any] | None) -> int:
    """Heads that a release's document states; 0 if it leaves them to the size or states none."""
    encoder = (document or {}).get("encoder")
    heads = encoder.get("heads") if isinstance(encoder, dict) else 0
    return heads if type(heads) is int and heads > 0 else 0


def _told(document: Mapping[str, Any], *, deduced: EncoderConfig, name: str) -> EncoderConfig:
    """What a release's document says, which must be what its tensors say."""
    try:
        config = type(deduced)(**document["encoder"])
        same = [(getattr(config, field), getattr(deduced, field)) for field in _SHAPE]
    except (TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{name}: its document names no encoder that this code knows ({error})") from error
    unlike = [
        f"{field} {said}, not {found}" for field, (said, found) in zip(_SHAPE, same, strict=True) if said != found
    ]
    if unlike or (config.layer_scale > 0) != (deduced.layer_scale > 0):
        raise CheckpointError(f"{name}: its document says {unlike or 'another LayerScale'}; take the file as released")
    return config


def _deduced(found: Found, names: Mapping[str, str], *, heads: int, name: str) -> EncoderConfig:
    absolute = is_absolute(found.state)
    place = names["pos_embed.weight" if absolute else "rel_pos_bias.table.weight"]
    width = found.state[names["norm.weight"]].numel()
    projection = names["patch_embed.projection.weight"]
    problems = []
    channels, patch = _patches(tuple(found.state[projection].shape))
    if not channels:
        problems.append(f"{projection} has shape {tuple(found.state[projection].shape)}, not (D, 1 or 3, P, P)")
    shape = tuple(found.state[place].shape)
    grid, found_heads = _grid(shape, width=width, absolute=absolute)
    if not grid:
        wanted = "(1, 1 + G^2, D)" if absolute else "((2 G - 1)^2 + 3, H)"
        problems.append(f"{place} has shape {shape}, not {wanted} with D {width}")
    given = heads or _HEADS.get(width, 0)
    if absolute and not given:
        problems.append(f"the number of heads of a plain ViT {width} wide is not in the file; give `heads`")
    try:
        if not problems:
            return (PlainConfig if absolute else EncoderConfig)(
                size="custom",
                width=width,
                depth=depth_of(found.state),
                heads=given if absolute else found_heads,
                patch=patch,
                side=patch * grid,
                channels=channels,
                layer_scale=0.1 if is_scaled(found.state) else 0.0,
            )
    except ConfigError as error:
        problems.extend(error.problems)
    raise CheckpointError("\n  - ".join([f"{name}: no encoder can have these shapes", *problems]))


def _patches(shape: tuple[int, ...]) -> tuple[int, int]:
    """Channels and side of a patch from its projection's shape, (D, C, P, P) or (D, C P P); 0 and 0 if none fits."""
    if len(shape) == 4 and shape[1] in (1, 3) and shape[2] == shape[3] >= 1:
        return shape[1], shape[2]
    for channels in (1, 3):
        patch = math.isqrt(shape[1] // channels) if len(shape) == 2 else 0
        if patch and channels * patch**2 == shape[1]:
            return channels, patch
    return 0, 0


def _grid(shape: tuple[int, ...], *, width: int, absolute: bool) -> tuple[int, int]:
    """Grid side, and heads where the shape tells them; 0 and 0 if none fits."""
    if absolute:
        grid = math.isqrt(max(0, shape[-2] - 1)) if len(shape) in (2, 3) and shape[-1] == width else 0
        return (grid, 0) if grid and 1 + grid**2 == shape[-2] else (0, 0)
    span = math.isqrt(max(0, shape[0] - 3)) if len(shape) == 2 else 0
    fits = span % 2 == 1 and span**2 + 3 == shape[0] and shape[1] >= 1 and width % shape[1] == 0
    return ((span + 1) // 2, shape[1]) if fits else (0, 0)


def _unfit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    problems = []
    for key, tensor in sorted(state.items()):
        shape, wanted = tuple(tensor.shape), tuple(expected[key].shape)
        if shape != wanted:
            turned = " (transposed)" if shape == wanted[::-1] else ""
            problems.append(f"{key} has shape {shape}, expected {wanted}{turned}")
        elif not tensor.is_floating_point():
            problems.append(f"{key} is {str(tensor.dtype).removeprefix('torch.')}, expected floating point")
        elif broken := int((~torch.isfinite(tensor.to(torch.float32))).sum()):
            problems.append(f"{key}: {broken} of {tensor.numel()} values are not finite in float32")
    return problems


def _unlike_indices(indices: Mapping[str, Tensor], config: EncoderConfig) -> list[str]:
    """Tables of relative positions that order the bias rows otherwise than this encoder does."""
    if not indices or config.plain:
        return []
    with torch.random.fork_rng(devices=[]):
        ours = RelativePositionBias(grid=config.grid, heads=1).index(None)[0]
    return [
        f"{key} orders the bias rows otherwise than this encoder of {config.grid} x {config.grid} patches"
        for key, theirs in sorted(indices.items())
        if theirs.shape != ours.shape or not torch.equal(theirs.long(), ours)
    ]
