"""SegViT: the attention of a class query to the patches is the mask.

A learnt query of the structure attends to the patches. The similarity that the softmax would turn into weights is,
under a sigmoid, the mask; the query, updated by what it attended to, says whether the structure is in the image at all.
Three stages read three blocks, the deepest first, each going on with the query of the one before; the masks' logits are
added.

    P(pixel inside) = P(structure in the image) sigmoid(mask)

Loss of each stage: cross entropy of "structure" against "no object" (weight 0.1), and where the structure is there
20 focal + 1 Dice of the mask so far.

Deviations, all for the one structure: the query is matched to it by definition; no self-attention among queries, in
which a single query could only look at itself; losses are means over images, so that an image's does not depend on the
others of its batch. Written from the paper; its code is under a non-commercial licence and was not used.

Shape legend: B batch, N patches, D encoder width, C width, H attention heads, F width of a head, G patches along a
side, E image side.

B. Zhang et al., "SegViT: Semantic Segmentation with Plain Vision Transformers", NeurIPS 2022, arXiv:2210.05844.
B. Cheng, A. Schwing, A. Kirillov, "Per-Pixel Classification is Not All You Need for Semantic Segmentation", NeurIPS
2021, arXiv:2107.06278 (a class and a mask a query; the no-object weight; focal loss times 20).
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from core.models.heads.base import Head, blocks_at
from core.models.heads.losses import dice_of_images, focal_of_images
from core.models.layers import NORM_EPS, Mlp

LAYERS = 3
"""Attention layers of a stage."""
WIDEST = 384
"""Channels, as in the released configuration for ViT-B; half of the encoder's."""
_HEAD_WIDTH = 32
"""Channels an attention head: 384 in 12 heads."""
CLASS_WEIGHT, FOCAL_WEIGHT, DICE_WEIGHT = 1.0, 20.0, 1.0
NO_OBJECT_WEIGHT = 0.1
ALPHA, GAMMA = 0.25, 2.0


class SegViTHead(Head):
    """Tokens of three blocks to the logit that a pixel is inside, (B, 1, E, E)."""

    def __init__(self, width: int, *, depth: int, inside: int = 0) -> None:
        """`inside` channels; 0 takes `default_width`."""
        super().__init__()
        inside = inside or default_width(width)
        heads = max(1, inside // _HEAD_WIDTH)
        self.blocks = blocks_at(3, 2, 1.5, depth=depth)
        self.query = nn.Embedding(1, inside)
        self.stages = nn.ModuleList(_Stage(width, inside, heads=math.gcd(inside, heads)) for _ in self.blocks)
        self.presence = nn.Linear(inside, 2)

    @override
    def forward(self, features: Sequence[Tensor], x_B1EE: Tensor) -> Tensor:
        """Logits (B, 1, E, E) of the product of both probabilities."""
        *_, (presence_B2, masks_B1EE) = self._predictions(features, x_B1EE)
        present_B111 = (presence_B2[:, 0] - presence_B2[:, 1])[:, None, None, None]
        return product_logit(masks_B1EE.float(), present_B111.float())

    @override
    def loss(self, features: Sequence[Tensor], x_B1EE: Tensor, target: Tensor) -> Tensor:
        """The mean over images of the sum over stages."""
        return torch.stack([stage_loss(*pair, target) for pair in self._predictions(features, x_B1EE)]).sum()

    def _predictions(self, features: Sequence[Tensor], x_B1EE: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each stage: logits (B, 2) of "structure" and "no object", and of the mask so far, (B, 1, E, E)."""
        index_B1 = torch.zeros(len(x_B1EE), 1, dtype=torch.long, device=x_B1EE.device)
        query_B1C, total_B1N = self.query(index_B1), torch.zeros((), device=x_B1EE.device)
        for stage, tokens_BTD in zip(self.stages, features, strict=True):
            query_B1C, similarity_B1N = stage(query_B1C, tokens_BTD[:, 1:])
            total_B1N = total_B1N + similarity_B1N
            side = math.isqrt(total_B1N.shape[2])
            mask_B1GG = total_B1N.unflatten(2, (side, side))
            masks_B1EE = functional.interpolate(mask_B1GG, size=x_B1EE.shape[2:], mode="bilinear", align_corners=False)
            yield self.presence(query_B1C[:, 0]), masks_B1EE


def default_width(width: int) -> int:
    """Channels inside for an encoder: half of its, at most 384; a multiple of 32 where there are as many."""
    half = min(WIDEST, max(1, width // 2))
    return half // _HEAD_WIDTH * _HEAD_WIDTH or half


def product_logit(x: Tensor, y: Tensor) -> Tensor:
    """The logit of sigmoid(x) sigmoid(y).

    1 / p - 1 = (1 + exp(-x)) (1 + exp(-y)) - 1 = exp(-x) + exp(-y) + exp(-x - y), so nothing is lost near 0 or 1.
    """
    return -torch.logaddexp(torch.logaddexp(-x, -y), -x - y)


def stage_loss(presence_B2: Tensor, masks_B1EE: Tensor, target_B1EE: Tensor) -> Tensor:
    """The loss of one stage, a mean over images.

    Args:
        presence_B2: Logits of "structure" and "no object".
        masks_B1EE: Logits of the mask.
        target_B1EE: 0 and 1; an image without a 1 is "no object" and has no loss of the mask.
    """
    present_B = target_B1EE.flatten(1).amax(dim=1) > 0
    entropy_B = functional.cross_entropy(presence_B2.float(), (~present_B).long(), reduction="none")
    class_B = torch.where(present_B, entropy_B, NO_OBJECT_WEIGHT * entropy_B)
    focal_B = focal_of_images(masks_B1EE, target_B1EE, alpha=ALPHA, gamma=GAMMA)
    mask_B = FOCAL_WEIGHT * focal_B + DICE_WEIGHT * dice_of_images(masks_B1EE, target_B1EE)
    return (CLASS_WEIGHT * class_B + mask_B * present_B).mean()


class _Stage(nn.Module):
    """One block's patches (B, N, D), and the query (B, 1, C), through the layers."""

    def __init__(self, width: int, inside: int, *, heads: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, inside)
        self.norm = nn.LayerNorm(inside, eps=NORM_EPS)
        self.layers = nn.ModuleList(_Layer(inside, heads=heads, masks=number == LAYERS - 1) for number in range(LAYERS))

    def forward(self, query_B1C: Tensor, patches_BND: Tensor) -> tuple[Tensor, Tensor]:
        """The query afterwards, and the last layer's similarity (B, 1, N)."""
        patches_BNC = self.norm(self.proj(patches_BND))
        for layer in self.layers:
            query_B1C, similarity_B1N = layer(query_B1C, patches_BNC)
        return query_B1C, similarity_B1N


class _Layer(nn.Module):
    """Attention to mask: attention written out, since its similarities are a result; then an MLP. Norms come after."""

    def __init__(self, width: int, *, heads: int, masks: bool) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width, bias=masks)  # it moves the whole mask; the softmax would not see it
        self.v = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, query_B1C: Tensor, patches_BNC: Tensor) -> tuple[Tensor, Tensor]:
        """The query afterwards, and the similarity (B, 1, N), a mean over heads."""
        q_BH1F, k_BHNF, v_BHNF = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.q, query_B1C), (self.k, patches_BNC), (self.v, patches_BNC))
        )
        similarity_BH1N = q_BH1F @ k_BHNF.transpose(2, 3) / math.sqrt(q_BH1F.shape[3])
        mixed_BH1F = similarity_BH1N.softmax(dim=3).to(v_BHNF.dtype) @ v_BHNF
        query_B1C = self.norm1(query_B1C + self.proj(mixed_BH1F.transpose(1, 2).flatten(2)))
        return self.norm2(query_B1C + self.mlp(query_B1C)), similarity_BH1N.mean(dim=1)
