"""What every head is: features of some encoder blocks and the image in, a prediction out, and its own loss.

Shape legend: B batch, N patches, G patches along a side, D width, E image side, K classes.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

LAST = -1
"""The block number of the tokens after the encoder's final norm."""


class Head(nn.Module, ABC):
    """A task's head. Every parameter lives in a leaf module and no layer mixes the images of a batch."""

    blocks: tuple[int, ...] = (LAST,)
    """The encoder's blocks whose output it reads, -1 for the tokens after the final norm."""

    @abstractmethod
    def forward(self, features: Sequence[Tensor], x_B1EE: Tensor) -> Tensor:
        """Predict.

        Args:
            features: For each of `blocks`, tokens (B, 1 + N, D), class token first.
            x_B1EE: The image that the encoder saw.

        Returns:
            Segmentation: logits (B, 1, E, E) that a pixel is inside. Classification: logits (B, K). Enhancement: the
            restored image (B, 1, E, E), in the units of the input.
        """

    @abstractmethod
    def loss(self, features: Sequence[Tensor], x_B1EE: Tensor, target: Tensor) -> Tensor:
        """The scalar to minimize.

        Args:
            features: As in `forward`.
            x_B1EE: As in `forward`.
            target: Masks (B, 1, E, E) of 0 and 1, class numbers (B,), or the clean image (B, 1, E, E).
        """


def blocks_at(*thirds: float, depth: int) -> tuple[int, ...]:
    """The blocks that end nearest to these parts of an encoder, counted in thirds of its depth.

    1, 1.5, 2 and 3 thirds are blocks 3, 5, 7 and 11 of 12, as in the released USFM configurations. A shallow encoder
    gives a block more than once. The last block is `LAST`, so that its tokens come normed, as pretraining read them.

    Args:
        thirds: Each above 0, to 3.
        depth: Blocks of the encoder, at least 1.
    """
    ends = [max(1, math.floor(depth * third / 3 + 0.5)) for third in thirds]
    return tuple(LAST if end == depth else end - 1 for end in ends)


def as_grid(tokens_BTD: Tensor) -> Tensor:
    """Tokens (B, 1 + N, D), class token first, as the map (B, D, G, G) of the patches."""
    patches_BDN = tokens_BTD[:, 1:].transpose(1, 2)
    side = math.isqrt(patches_BDN.shape[2])
    return patches_BDN.reshape(*patches_BDN.shape[:2], side, side)
