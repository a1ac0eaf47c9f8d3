"""What a frozen encoder's patch tokens say about where a structure lies: a linear map from a token to its patch's mask.

Each token is mapped to the P x P pixels of its own patch by one ridge regression in closed form, on the targets 0 and
1; the class token is dropped. Penalty and threshold are chosen on validation patients; the score is the Dice of test
patients (`core.evaluation.dice`).

A. E. Hoerl, R. W. Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", Technometrics
12(1):55-67, 1970, doi:10.1080/00401706.1970.10488634.
"""

import copy

import torch
from torch import Tensor, nn

from core.data.augmentation import to_mask
from core.evaluation.dice import DiceScore, best_threshold, judge, no_score, obstacle, summarize
from core.evaluation.masked import Masked, encoder_input, predict
from core.models.encoder import Encoder
from core.models.layers import from_patches, to_patches

# B batch, E side, N patches, K tokens of a batch, D width, F pixels of a patch, M penalties

PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
"""Grid of the penalty, strongest first, for tokens of unit variance and a squared error that is a mean over tokens."""


class TokenMaps(nn.Module):
    """A frozen encoder and one linear map a penalty: images (B, 1, E, E) to scores (B, M, E, E), about 0 to 1."""

    def __init__(self, encoder: Encoder, weights_MDF: Tensor, bias_MF: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        device = next(encoder.parameters()).device
        self.weights_MDF, self.bias_MF = weights_MDF.float().to(device), bias_MF.float().to(device)

    def forward(self, x_B1EE: Tensor) -> Tensor:
        """The scores of every map."""
        tokens_BND = self.encoder(x_B1EE)[:, 1:].float()
        maps = zip(self.weights_MDF, self.bias_MF, strict=True)
        patch = self.encoder.config.patch
        return torch.cat([from_patches(tokens_BND @ w_DF + b_F, patch=patch) for w_DF, b_F in maps], dim=1)


def frozen(
    encoder: Encoder, train: Masked, validation: Masked, test: Masked, *, seed: int, batch: int = 128
) -> DiceScore:
    """Dice of the linear map from frozen patch tokens to mask pixels.

    Args:
        encoder: Left as it is; everything runs where its weights are.
        train: What the map is fitted on, all of its images.
        validation: What chooses penalty and threshold.
        test: What is scored; its patients should be in neither of the others.
        seed: The run's seed; it serves the bootstrap only.
        batch: Images a forward pass, >= 1.

    Returns:
        The score, or None with the reason: a split without an image, only empty masks, features that are not finite.
    """
    side, device = encoder.config.side, next(encoder.parameters()).device
    truths = [split.truth(side=side) for split in (train, validation, test)]
    if reason := obstacle(*truths):
        return no_score(reason, truths[2])
    encoder = copy.deepcopy(encoder).eval()
    maps = _fit(encoder, train, batch=batch)
    if maps is None:
        return no_score("the encoder's features are not finite", truths[2])
    tried = [best_threshold(scores, truths[1])
             for scores in predict(maps, validation, side=side, device=device, batch=batch)]  # fmt: skip
    best = max(range(len(tried)), key=lambda number: tried[number][1])  # the first of equals: the strongest penalty
    chosen = TokenMaps(encoder, maps.weights_MDF[[best]], maps.bias_MF[[best]])
    scores = predict(chosen, test, side=side, device=device, batch=batch)[0]
    return summarize([judge(scores, truths[2], threshold=tried[best][0])], truths[2], seed=seed)


@torch.no_grad()
def _fit(encoder: Encoder, train: Masked, *, batch: int) -> TokenMaps | None:
    """Ridge for every penalty, from sums over the training tokens in float64; None where a token is not finite."""
    config, device = encoder.config, next(encoder.parameters()).device
    width, pixels = config.width_, config.patch**2
    # One matrix of sums holds all that is needed: of (1, token, target) times its transpose.
    sums = torch.zeros(1 + width + pixels, 1 + width + pixels, dtype=torch.float64)
    for start in range(0, len(train.images_NSS), batch):
        part = slice(start, start + batch)
        tokens_BND = encoder(encoder_input(train.images_NSS[part], side=config.side, device=device))[:, 1:]
        masks_B1EE = to_mask(torch.from_numpy(train.masks_NSS[part]), side=config.side)
        targets_KF = to_patches(masks_B1EE, patch=config.patch).reshape(-1, pixels).double()
        tokens_KD = tokens_BND.reshape(-1, width).cpu().double()
        rows = torch.cat([torch.ones(len(tokens_KD), 1, dtype=torch.float64), tokens_KD, targets_KF], dim=1)
        sums += rows.T @ rows
    if not torch.isfinite(sums).all():
        return None
    return TokenMaps(encoder, *_ridge(sums / sums[0, 0], width=width))


def _ridge(moments: Tensor, *, width: int) -> tuple[Tensor, Tensor]:
    """Weights (M, D, F) and biases (M, F) from the means of products of (1, token, target)."""
    mean = moments[0, 1:]
    covariance = moments[1:, 1:] - mean[:, None] * mean
    mean_D, mean_F = mean[:width], mean[width:]
    variance_D = covariance.diagonal()[:width]
    # A channel that never changes tells nothing: deviation 1 leaves it with weights of about 0.
    deviation_D = torch.where(variance_D > 1e-12, variance_D, 1.0).sqrt()
    values_D, vectors_DD = torch.linalg.eigh(covariance[:width, :width] / (deviation_D[:, None] * deviation_D))
    turned_DF = vectors_DD.T @ (covariance[:width, width:] / deviation_D[:, None])
    weights = [vectors_DD @ (turned_DF / (values_D.clamp(min=0) + penalty)[:, None]) for penalty in PENALTIES]
    weights_MDF = torch.stack(weights) / deviation_D[:, None]
    return weights_MDF, mean_F - mean_D @ weights_MDF
