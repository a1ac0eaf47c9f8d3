"""What every head is: features of some encoder blocks and the image in, a prediction out, and its own loss.

Shape legend: B batch, N patches, D width, E image side, K classes.
"""

from collections.abc import Sequence

from torch import Tensor, nn


class Head(nn.Module):
    """A task's head. Every parameter lives in a leaf module and no layer mixes the images of a batch."""

    blocks: tuple[int, ...] = (-1,)
    """The encoder's blocks whose output it reads, -1 for the tokens after the final norm."""

    def forward(self, features: Sequence[Tensor], x_B1EE: Tensor) -> Tensor:
        """Predict.

        Args:
            features: For each of `blocks`, tokens (B, 1 + N, D), class token first.
            x_B1EE: The image that the encoder saw.

        Returns:
            Segmentation: logits (B, 1, E, E) that a pixel is inside. Classification: logits (B, K). Enhancement: the
            restored image (B, 1, E, E), in the units of the input.
        """
        raise NotImplementedError

    def loss(self, features: Sequence[Tensor], x_B1EE: Tensor, target: Tensor) -> Tensor:
        """The scalar to minimize.

        Args:
            features: As in `forward`.
            x_B1EE: As in `forward`.
            target: Masks (B, 1, E, E) of 0 and 1, class numbers (B,), or the clean image (B, 1, E, E).
        """
        raise NotImplementedError
