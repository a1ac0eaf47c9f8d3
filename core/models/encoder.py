"""The ultrasound encoder: a vision transformer with one relative position bias shared by all blocks.

The layout is that of the released USFM checkpoint and of timm's `Beit(use_rel_pos_bias=False,
use_shared_rel_pos_bias=True, init_values=0.1)`; `core.models.timm_layout` maps the keys both ways. Unlike timm's class
it can encode some patches only, and every parameter lives in a leaf module. Given a `PlainConfig` it is a plain ViT
instead, so that the weights of MAE and URFM can stand beside ours.

Shape legend: B batch, C channels, H W image sides, P patch side, N patches, V visible patches, T tokens, D width.

Bao, Dong, Piao and Wei, "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022, arXiv:2106.08254.
Jiao et al., "USFM: A universal ultrasound foundation model generalized to tasks and organs towards label efficient
image analysis", Medical Image Analysis 96:103202, 2024, arXiv:2401.00153.
He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, arXiv:2111.06377 (visible patches only).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from core.errors import ConfigError, DataError
from core.models.layers import (
    NORM_EPS,
    Block,
    PositionEmbedding,
    PrependToken,
    RelativePositionBias,
    initialize,
    rescale_blocks,
    to_patches,
)
from core.seeding import derive

_SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "custom": (0, 0, 0)}


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The encoder's shape; `width`, `depth` and `heads` override the size's when they are not 0."""

    size: str = "tiny"
    """tiny 192 x 12 x 3, small 384 x 12 x 6, base 768 x 12 x 12 (width x depth x heads), or custom (give all three)."""
    width: int = 0
    """Channels; 0 takes the size's."""
    depth: int = 0
    """Blocks; 0 takes the size's."""
    heads: int = 0
    """Attention heads, a divisor of the width; 0 takes the size's."""
    patch: int = 16
    """Pixels, a side of a patch."""
    side: int = 224
    """Pixels, a side of the square image; a multiple of `patch`."""
    channels: int = 3
    """3, the public weights' layout (a grey image is repeated as a view), or 1."""
    layer_scale: float = 0.1
    """Initial LayerScale factor, at least 0; 0.1 in BEiT-Base and USFM, 0 leaves LayerScale out."""
    drop_path: float = 0.0
    """Probability in [0, 1) of dropping the last block's branches; linear from 0 at the first block."""
    plain: ClassVar[bool] = False
    """Not a choice of a study: `PlainConfig` is for weights that others made."""

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            ConfigError: listing all fields out of range.
        """
        problems = [
            f"encoder.{name} is {getattr(self, name)}; it must be 0 (the size's own) or more"
            for name in ("width", "depth", "heads")
            if getattr(self, name) < 0
        ]
        if self.size not in _SIZES:
            problems.append(f"encoder.size is {self.size!r}; choose one of {', '.join(_SIZES)}")
        elif not problems and 0 in (self.width_, self.depth_, self.heads_):
            problems.append("encoder.size custom needs encoder.width, encoder.depth and encoder.heads")
        elif not problems and self.width_ % self.heads_:
            problems.append(f"encoder.width {self.width_} is no multiple of encoder.heads {self.heads_}")
        if self.patch < 1 or self.side < self.patch or self.side % self.patch:
            problems.append(f"encoder.side {self.side} is no positive multiple of encoder.patch {self.patch}")
        if self.channels not in (1, 3):
            problems.append(f"encoder.channels is {self.channels}; it must be 1 or 3")
        if not self.layer_scale >= 0.0:
            problems.append(f"encoder.layer_scale is {self.layer_scale}; it must be 0 (none) or more")
        if not 0.0 <= self.drop_path < 1.0:
            problems.append(f"encoder.drop_path is {self.drop_path}; it must be in [0, 1)")
        if problems:
            raise ConfigError(problems)

    @property
    def width_(self) -> int:
        """The width in force."""
        return self.width or _SIZES[self.size][0]

    @property
    def depth_(self) -> int:
        """The depth in force."""
        return self.depth or _SIZES[self.size][1]

    @property
    def heads_(self) -> int:
        """The number of heads in force."""
        return self.heads or _SIZES[self.size][2]

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.side // self.patch


@dataclass(frozen=True, kw_only=True)
class PlainConfig(EncoderConfig):
    """A plain ViT's shape, as MAE and URFM have it: an embedding of places, no bias table, keys with a bias."""

    plain: ClassVar[bool] = True


class PatchEmbed(nn.Module):
    """Square patches to tokens by one linear layer, for the visible patches only where they are named."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.channels = config.channels
        self.projection = nn.Linear(config.channels * config.patch**2, config.width_)

    def forward(self, x_BCHW: Tensor, visible_BV: Tensor | None) -> Tensor:
        """(B, C, H, W) to (B, V or N, D)."""
        x_BNCPP = to_patches(x_BCHW, patch=self.patch)
        if visible_BV is not None:
            x_BNCPP = x_BNCPP[torch.arange(len(x_BNCPP), device=visible_BV.device)[:, None], visible_BV]
        x_BNCPP = x_BNCPP.expand(-1, -1, self.channels, -1, -1)
        tokens_BND: Tensor = self.projection(x_BNCPP.flatten(2))
        return tokens_BND


class Encoder(nn.Module):
    """The transformer; make it with `build_encoder`, which also sets its weights."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        depth, width = config.depth_, config.width_
        self.patch_embed = PatchEmbed(config)
        self.cls_token = PrependToken(width)
        self.pos_embed = PositionEmbedding(grid=config.grid, width=width) if config.plain else None
        self.rel_pos_bias = None if config.plain else RelativePositionBias(grid=config.grid, heads=config.heads_)
        rates = [config.drop_path * number / max(1, depth - 1) for number in range(depth)]
        self.blocks = nn.ModuleList(
            Block(width, heads=config.heads_, layer_scale=config.layer_scale, drop_path=rate, key_bias=config.plain)
            for rate in rates
        )
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, x_BCHW: Tensor, visible_BV: Tensor | None = None) -> Tensor:
        """Encodes images.

        Args:
            x_BCHW: Float images, 1 channel or as many as the configuration says, `side` pixels square.
            visible_BV: Indices in [0, N) of the patches to encode, as many for each image; None encodes all.

        Returns:
            Tokens after the final norm, class token first: (B, 1 + V, D) in the given order, or (B, 1 + N, D).

        Raises:
            DataError: the images have another side or another number of channels.
        """
        self._check(x_BCHW)
        x_BTD, bias_BHTT = self._embed(x_BCHW, visible_BV)
        for block in self.blocks:
            x_BTD = block(x_BTD, bias_BHTT)
        tokens_BTD: Tensor = self.norm(x_BTD)
        return tokens_BTD

    def _check(self, x_BCHW: Tensor) -> None:
        side, channels = self.config.side, self.config.channels
        if x_BCHW.shape[1] not in (1, channels) or x_BCHW.shape[2:] != (side, side):
            raise DataError(
                f"the encoder takes images of {side} x {side} pixels and 1 or {channels} channels, "
                f"got {tuple(x_BCHW.shape)}"
            )

    def _embed(self, x_BCHW: Tensor, visible_BV: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What enters the first block, and the bias of all blocks' logits."""
        x_BTD = self.cls_token(self.patch_embed(x_BCHW, visible_BV))
        if self.pos_embed is not None:
            x_BTD = self.pos_embed(x_BTD, visible_BV)
        return x_BTD, None if self.rel_pos_bias is None else self.rel_pos_bias(visible_BV)

    def hidden(self, x_BCHW: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """Tokens (B, 1 + N, D) after each of these blocks (from 0, no final norm); -1 is what `forward` returns.

        Raises:
            DataError: as `forward`.
        """
        self._check(x_BCHW)
        x_BTD, bias_1HTT = self._embed(x_BCHW, None)
        found: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, bias_1HTT)
            found[number] = x_BTD
        found[-1] = self.norm(x_BTD)
        return [found[number] for number in blocks]

    def features(self, x_BCHW: Tensor) -> Tensor:
        """One vector an image, (B, D): the mean of the patch tokens after the norm."""
        tokens_BTD: Tensor = self(x_BCHW)
        return tokens_BTD[:, 1:].mean(dim=1)


def build_encoder(config: EncoderConfig, *, seed: int) -> Encoder:
    """An initialized encoder; the same configuration and seed give the same weights.

    The global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "encoder"))
        encoder = Encoder(config)
        initialize(encoder)
        rescale_blocks(encoder.blocks)
    return encoder
