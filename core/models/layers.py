"""The parts of a vision transformer, with every parameter in a leaf module.

No module here has both parameters of its own and children, so that a hook on leaf modules (Opacus' per-sample
gradients) sees every parameter: the class token, the mask token, LayerScale and the query and value biases are modules
of their own.

Shape legend: B batch, T tokens, N patches, V visible patches, D width, H heads, R rows of the bias table, P patch side,
C channels, G grid side.

Bao, Dong, Piao and Wei, "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022, arXiv:2106.08254 (the block's
layout and initialization).
Touvron, Cord, Sablayrolles, Synnaeve and Jégou, "Going deeper with Image Transformers", ICCV 2021, arXiv:2103.17239
(LayerScale).
Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", ECCV 2016, arXiv:1603.09382.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPS = 1e-6
"""Epsilon of every LayerNorm; as in the released USFM code and timm."""


class PrependToken(nn.Module):
    """A learnt token put before the others: (B, T, D) to (B, 1 + T, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The tokens with this one first."""
        token_B1D = self.weight.to(x_BTD.dtype).expand(x_BTD.shape[0], 1, -1)
        return torch.cat([token_B1D, x_BTD], dim=1)


class AppendTokens(nn.Module):
    """One learnt token put `count` times behind the others: (B, V, D) to (B, V + count, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x_BVD: Tensor, count: int) -> Tensor:
        """The tokens with `count` copies of this one behind them."""
        tokens_BMD = self.weight.to(x_BVD.dtype).expand(x_BVD.shape[0], count, -1)
        return torch.cat([x_BVD, tokens_BMD], dim=1)


class LayerScale(nn.Module):
    """A learnt factor per channel, small at first, so that each block starts near the identity."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), initial))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The input times the factors."""
        return x_BTD * self.weight


class QueryValueBias(nn.Module):
    """Biases of queries and values; a key bias would shift all logits of a query alike, so there is none."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q = nn.Parameter(torch.zeros(width))
        self.v = nn.Parameter(torch.zeros(width))

    def forward(self, qkv_BTD3: Tensor) -> Tensor:
        """(B, T, 3 D) with the biases added to its first and last third."""
        return qkv_BTD3 + torch.cat([self.q, torch.zeros_like(self.q), self.v]).to(qkv_BTD3.dtype)


class PositionEmbedding(nn.Module):
    """A learnt vector for the class token and for each place of the grid, added to the tokens (a plain ViT)."""

    def __init__(self, *, grid: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1 + grid**2, width))

    def forward(self, x_BTD: Tensor, visible_BV: Tensor | None = None) -> Tensor:
        """The tokens, class token first, each with its place's vector added."""
        if visible_BV is None:
            return x_BTD + self.weight.to(x_BTD.dtype)
        places_BT = functional.pad(visible_BV + 1, (1, 0))
        return x_BTD + self.weight[places_BT].to(x_BTD.dtype)


class RelativePositionBias(nn.Module):
    """One bias table, shared by all blocks: a row per offset between two patches and three for the class token.

    Rows: (2G - 1)^2 offsets, then class-to-patch, patch-to-class, class-to-class; BEiT's order.
    """

    codes_N: Tensor

    def __init__(self, *, grid: int, heads: int) -> None:
        super().__init__()
        self.rows = (2 * grid - 1) ** 2 + 3
        self.table = nn.Embedding(self.rows, heads)
        line = torch.arange(grid)
        # The row of a pair is code[query] - code[key] + centre, so no table of all pairs is kept.
        self.register_buffer("codes_N", (line[:, None] * (2 * grid - 1) + line).flatten(), persistent=False)
        self.centre = (grid - 1) * (2 * grid - 1) + grid - 1

    def index(self, visible_BV: Tensor | None) -> Tensor:
        """The table's row for each pair of tokens, class token first: (B, 1+V, 1+V), or (1, 1+N, 1+N) for all."""
        codes_BV = self.codes_N[None] if visible_BV is None else self.codes_N[visible_BV]
        batch, count = codes_BV.shape
        index_BTT = codes_BV.new_empty(batch, 1 + count, 1 + count)
        torch.sub(codes_BV[:, :, None] + self.centre, codes_BV[:, None, :], out=index_BTT[:, 1:, 1:])
        index_BTT[:, 0, :] = self.rows - 3
        index_BTT[:, :, 0] = self.rows - 2
        index_BTT[:, 0, 0] = self.rows - 1
        return index_BTT

    def forward(self, visible_BV: Tensor | None = None) -> Tensor:
        """The bias to add to the logits: (B, H, 1+V, 1+V) for each image's visible patches, or (1, H, 1+N, 1+N)."""
        bias_BTTH: Tensor = self.table(self.index(visible_BV))
        return bias_BTTH.permute(0, 3, 1, 2).contiguous()


class DropPath(nn.Module):
    """Stochastic depth: in training drops an image's residual branch with probability `rate`, and rescales the rest."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The branch, zeroed for some images while training."""
        if not self.training or self.rate == 0.0:
            return x_BTD
        kept_B11 = torch.rand(x_BTD.shape[0], 1, 1, device=x_BTD.device) >= self.rate
        return x_BTD * (kept_B11 / (1.0 - self.rate)).to(x_BTD.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with an additive bias on the logits; `key_bias` gives keys a bias too (a plain ViT)."""

    def __init__(self, width: int, *, heads: int, key_bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=key_bias)
        self.qv_bias = nn.Identity() if key_bias else QueryValueBias(width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor, bias_BHTT: Tensor | None) -> Tensor:
        """(B, T, D) to the same; the bias is (B or 1, H, T, T)."""
        qkv_BTD3: Tensor = self.qv_bias(self.qkv(x_BTD))
        batch, tokens, _ = qkv_BTD3.shape
        q, k, v = qkv_BTD3.reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        bias = None if bias_BHTT is None else bias_BHTT.to(q.dtype)
        mixed_BHTE = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out_BTD: Tensor = self.proj(mixed_BHTE.transpose(1, 2).flatten(2))
        return out_BTD


class Mlp(nn.Module):
    """Two linear layers with a GELU between, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) to the same."""
        out_BTD: Tensor = self.fc2(functional.gelu(self.fc1(x_BTD)))
        return out_BTD


class Block(nn.Module):
    """A pre-norm transformer block; `layer_scale` 0 leaves LayerScale out."""

    def __init__(
        self, width: int, *, heads: int, layer_scale: float = 0.0, drop_path: float = 0.0, key_bias: bool = False
    ) -> None:
        super().__init__()
        scaled = layer_scale > 0.0
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, heads=heads, key_bias=key_bias)
        self.scale1 = LayerScale(width, layer_scale) if scaled else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width)
        self.scale2 = LayerScale(width, layer_scale) if scaled else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BTD: Tensor, bias_BHTT: Tensor | None = None) -> Tensor:
        """(B, T, D) to the same."""
        x_BTD = x_BTD + self.drop_path(self.scale1(self.attn(self.norm1(x_BTD), bias_BHTT)))
        out_BTD: Tensor = x_BTD + self.drop_path(self.scale2(self.mlp(self.norm2(x_BTD))))
        return out_BTD


def to_patches(x_BCHW: Tensor, *, patch: int) -> Tensor:
    """(B, C, G P, G P) as (B, N, C, P, P), patches row by row; a view for one channel until it is indexed."""
    batch, channels, height, width = x_BCHW.shape
    rows, columns = height // patch, width // patch
    x = x_BCHW.reshape(batch, channels, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(batch, rows * columns, channels, patch, patch)


def from_patches(x_BNF: Tensor, *, patch: int) -> Tensor:
    """(B, N, P P) as a one-channel image (B, 1, G P, G P); what PixelShuffle does after a 1x1 convolution."""
    batch, count, _ = x_BNF.shape
    grid = math.isqrt(count)
    x = x_BNF.reshape(batch, grid, grid, patch, patch).permute(0, 1, 3, 2, 4)
    return x.reshape(batch, 1, grid * patch, grid * patch)


def initialize(module: nn.Module) -> None:
    """BEiT's start: weights and tokens from a normal (0.02) truncated at two, biases and the position table zero."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.zeros_(part.weight)
        elif isinstance(part, PrependToken | AppendTokens | PositionEmbedding):
            nn.init.trunc_normal_(part.weight, std=0.02)


def rescale_blocks(blocks: Iterable[nn.Module]) -> None:
    """Divides what block i (from 0) adds to the residual stream by sqrt(2 (i + 1)), BEiT's rescaling."""
    with torch.no_grad():
        for number, block in enumerate(blocks):
            assert isinstance(block, Block)
            factor = math.sqrt(2.0 * (number + 1))
            block.attn.proj.weight.div_(factor)
            block.mlp.fc2.weight.div_(factor)
