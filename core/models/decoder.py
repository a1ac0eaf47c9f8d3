"""Light decoders from tokens to a one-channel image.

`PixelDecoder` is SimMIM's 1x1 convolution and pixel shuffle, for an encoder that saw every patch. `MaskedDecoder` fills
the patches that the encoder did not see with a mask token and runs one or two attention blocks.

Shape legend: B batch, V visible patches, N patches, D encoder width, E decoder width, P patch side, S image side.

Xie et al., "SimMIM: A Simple Framework for Masked Image Modeling", CVPR 2022, arXiv:2111.09886 (1x1 decoder).
He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, arXiv:2111.06377 (mask tokens, positions).
"""

import torch
from torch import Tensor, nn

from core.models.layers import NORM_EPS, AppendTokens, Block, from_patches, initialize
from core.seeding import derive


class PixelDecoder(nn.Module):
    """Each token becomes its patch's pixels: a 1x1 convolution (a linear layer on tokens) and pixel shuffle."""

    def __init__(self, width: int, *, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.head = nn.Linear(width, patch**2)

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """Patch tokens (B, N, D), without the class token, to an image (B, 1, S, S)."""
        return from_patches(self.head(tokens_BND), patch=self.patch)


class MaskedDecoder(nn.Module):
    """Visible tokens, mask tokens and fixed positions through attention blocks to pixels.

    The tokens stay in the order visible first: attention without a position bias does not mind, and only pixels need to
    be put in place.
    """

    positions_NE: Tensor

    def __init__(self, width: int, *, decoder_width: int, depth: int, heads: int, grid: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(width, decoder_width)
        self.mask_tokens = AppendTokens(decoder_width)
        self.register_buffer("positions_NE", sine_positions(width=decoder_width, grid=grid), persistent=False)
        self.blocks = nn.ModuleList(Block(decoder_width, heads=heads) for _ in range(depth))
        self.norm = nn.LayerNorm(decoder_width, eps=NORM_EPS)
        self.head = nn.Linear(decoder_width, patch**2)

    def forward(self, tokens_BVD: Tensor, order_BN: Tensor) -> Tensor:
        """Decodes.

        Args:
            tokens_BVD: The visible patches' tokens, without the class token.
            order_BN: A permutation of the patches of each image; its first V are those of `tokens_BVD`, in their order.

        Returns:
            The image (B, 1, S, S).
        """
        hidden = order_BN.shape[1] - tokens_BVD.shape[1]
        x_BNE = self.mask_tokens(self.embed(tokens_BVD), hidden) + self.positions_NE[order_BN]
        for block in self.blocks:
            x_BNE = block(x_BNE)
        pixels_BNF = self.head(self.norm(x_BNE))
        back_BN1 = order_BN.argsort(dim=1)[:, :, None]
        return from_patches(pixels_BNF.gather(1, back_BN1.expand(-1, -1, pixels_BNF.shape[2])), patch=self.patch)


def sine_positions(*, width: int, grid: int) -> Tensor:
    """Fixed positions (N, width): sines and cosines of the row in one half, of the column in the other.

    `width` is a multiple of 4; frequencies run from 1 to 1/10000 as in Vaswani et al., "Attention Is All You Need",
    NeurIPS 2017, arXiv:1706.03762, section 3.5.
    """
    quarter = width // 4
    frequencies = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles_GQ = torch.arange(grid, dtype=torch.float64)[:, None] * frequencies
    line_GF = torch.cat([angles_GQ.sin(), angles_GQ.cos()], dim=1)
    rows = line_GF[:, None, :].expand(-1, grid, -1)
    columns = line_GF[None, :, :].expand(grid, -1, -1)
    return torch.cat([rows, columns], dim=2).reshape(grid * grid, width).float()


def build_decoder(
    width: int, *, tokens: str, decoder_width: int, depth: int, heads: int, grid: int, patch: int, seed: int
) -> PixelDecoder | MaskedDecoder:
    """An initialized decoder for tokens "all" or "visible"; the global generator is left as it was.

    Linear layers start from Xavier's uniform distribution, as in MAE, not from the encoder's narrow normal.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "decoder"))
        decoder: PixelDecoder | MaskedDecoder
        if tokens == "all":
            decoder = PixelDecoder(width, patch=patch)
        else:
            decoder = MaskedDecoder(
                width, decoder_width=decoder_width, depth=depth, heads=heads, grid=grid, patch=patch
            )
        initialize(decoder)
        for part in decoder.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight)
    return decoder
