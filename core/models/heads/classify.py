"""Classification heads.

Shape legend: B batch, T tokens, N patches, D width, C width inside, H attention heads, K classes.

X. Chen et al., "Context Autoencoder for Self-Supervised Representation Learning", IJCV 2024, arXiv:2202.03026
(attentive probing).
A. Bardes et al., "Revisiting Feature Prediction for Learning Visual Representations from Video", 2024,
arXiv:2404.08471 (V-JEPA; the attentive probe with a learnt query).
J. Lee et al., "Set Transformer: A Framework for Attention-based Permutation-Invariant Neural Networks", ICML 2019,
arXiv:1810.00825 (pooling by multi-head attention).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from core.models.heads.base import Head
from core.models.layers import NORM_EPS


class LinearHead(Head):
    """Mean of the patch tokens, a norm, a linear layer; the released USFM classifier's head."""

    def __init__(self, width: int, *, classes: int) -> None:
        super().__init__()
        self.fc_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.linear = _linear(width, classes=classes)

    @override
    def forward(self, features: Sequence[Tensor], x_B1EE: Tensor) -> Tensor:
        """Logits (B, K)."""
        logits_BK: Tensor = self.linear(self.fc_norm(features[0][:, 1:].mean(dim=1)))
        return logits_BK

    @override
    def loss(self, features: Sequence[Tensor], x_B1EE: Tensor, target: Tensor) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(self(features, x_B1EE).float(), target)


class AttentivePool(nn.Module):
    """Multi-head attention of one learnt query over the tokens: (B, T, D) to (B, D).

    The query is learnt where the keys are, since a projection of a constant is a constant. The keys have no bias: it
    would add the same to each token's logit. The query starts small, so the pool starts as nearly the mean.
    """

    def __init__(self, width: int, *, inside: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Embedding(1, inside)
        self.key = nn.Linear(width, inside, bias=False)
        self.value = nn.Linear(width, inside)
        self.proj = nn.Linear(inside, width)
        nn.init.trunc_normal_(self.query.weight, std=0.02)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The pooled token."""
        index_B1 = torch.zeros(len(x_BTD), 1, dtype=torch.long, device=x_BTD.device)
        k, v = self._split(self.key(x_BTD)), self._split(self.value(x_BTD))
        q = self._split(self.query(index_B1)).to(k.dtype)
        mixed_BH1E = functional.scaled_dot_product_attention(q, k, v)
        pooled_BD: Tensor = self.proj(mixed_BH1E.flatten(1))
        return pooled_BD

    def _split(self, x_BTC: Tensor) -> Tensor:
        return x_BTC.reshape(*x_BTC.shape[:2], self.heads, -1).transpose(1, 2)


class AttentiveHead(Head):
    """The patch tokens pooled by attention, a norm, a linear layer.

    For an encoder whose mean token says little: after masked image modelling the class stands in few tokens. As in the
    context autoencoder's probe and unlike V-JEPA's, no MLP stands behind the attention.
    """

    def __init__(self, width: int, *, heads: int, classes: int, inside: int = 0) -> None:
        """`inside` channels in the attention, 0 for the encoder's; as many heads of it as divide `heads` and it."""
        super().__init__()
        inside = inside or width
        self.pool = AttentivePool(width, inside=inside, heads=math.gcd(inside, heads))
        self.fc_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.linear = _linear(width, classes=classes)

    @override
    def forward(self, features: Sequence[Tensor], x_B1EE: Tensor) -> Tensor:
        """Logits (B, K)."""
        logits_BK: Tensor = self.linear(self.fc_norm(self.pool(features[0][:, 1:])))
        return logits_BK

    @override
    def loss(self, features: Sequence[Tensor], x_B1EE: Tensor, target: Tensor) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(self(features, x_B1EE).float(), target)


def _linear(width: int, *, classes: int) -> nn.Linear:
    linear = nn.Linear(width, classes)
    nn.init.trunc_normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
    return linear
