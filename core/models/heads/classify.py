"""Classification heads.

Shape legend: B batch, N patches, D width, K classes.
"""

from collections.abc import Sequence

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
        self.linear = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    @override
    def forward(self, features: Sequence[Tensor], x_B1EE: Tensor) -> Tensor:
        """Logits (B, K)."""
        logits_BK: Tensor = self.linear(self.fc_norm(features[0][:, 1:].mean(dim=1)))
        return logits_BK

    @override
    def loss(self, features: Sequence[Tensor], x_B1EE: Tensor, target: Tensor) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(self(features, x_B1EE), target)
