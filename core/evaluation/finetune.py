"""What an encoder is worth as a start: it and a small head learn to segment from a few labelled patients.

    loss = 1 - soft Dice + binary cross entropy, both over the pixels of an image, then the mean of the images

For a fixed number of steps; nothing is stopped early and nothing is chosen but the threshold, on validation patients.
Budgets count patients. The patients of a small budget are among those of a larger one. Patients, order of images,
crops and the head's first weights follow from (seed, task, repeat, budget) alone, so every arm gets the same.

F. Milletari, N. Navab, S.-A. Ahmadi, "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image
Segmentation", 3DV 2016, arXiv:1606.04797 (soft Dice; here with the plain sizes in the denominator).
W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network", CVPR 2016, arXiv:1609.05158 (pixel shuffle).
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.data.augmentation import AugmentationConfig, augment, augment_mask, standardize
from core.errors import ConfigError
from core.evaluation.dice import DiceScore, Grid, Judged, best_threshold, judge, no_score, obstacle, summarize
from core.evaluation.masked import Masked, predict
from core.models.encoder import Encoder
from core.seeding import derive, numpy_generator
from core.training.settings import TrainingConfig, learning_rate_at

# B batch, E side, N patches, G patches along a side, D width

HEAD_WIDTH = 32
"""Channels of the head: 18 thousand parameters at width 192 and patch 8."""


@dataclass(kw_only=True)  # not frozen: OmegaConf cannot fill frozen values of a dictionary
class FinetuneConfig:
    """How encoder and head are trained: AdamW, linear warm-up, cosine decay to 0."""

    steps: int = 200
    """Optimizer steps; at least 1."""
    batch: int = 16
    """Images a step; at least 1. A labelled patient is drawn, then one of the patient's images, each uniformly."""
    learning_rate: float = 3e-4
    """Peak rate of the encoder; 0 keeps it as it is. At least 0, below 1."""
    head_learning_rate: float = 3e-3
    """Peak rate of the head; above 0, below 1."""
    warmup_fraction: float = 0.1
    """Part of the steps spent in linear warm-up; 0 to 1."""
    weight_decay: float = 0.05
    """Decoupled, on matrices only; at least 0, below 1."""
    crop_scale_min: float = 0.67
    """Least area of the random crop, as a share of the image; above 0, to 1. Flips have probability one half."""
    repeats: int = 2
    """Draws of labelled patients that the score is the mean over; 1 to 100."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError with every problem."""
        if found := list(self.problems()):
            raise ConfigError(found, title="fine-tuning")

    def problems(self) -> Iterator[str]:
        """What is out of its range, one sentence a field."""
        allowed = {
            "steps": (self.steps >= 1, "be at least 1"),
            "batch": (self.batch >= 1, "be at least 1"),
            "learning_rate": (0 <= self.learning_rate < 1, "lie in [0, 1)"),
            "head_learning_rate": (0 < self.head_learning_rate < 1, "lie in (0, 1)"),
            "warmup_fraction": (0 <= self.warmup_fraction <= 1, "lie in [0, 1]"),
            "weight_decay": (0 <= self.weight_decay < 1, "lie in [0, 1)"),
            "crop_scale_min": (0 < self.crop_scale_min <= 1, "lie in (0, 1]"),
            "repeats": (1 <= self.repeats <= 100, "lie in [1, 100]"),
        }
        for name, (good, want) in allowed.items():
            if not good:
                yield f"{name} must {want}, got {getattr(self, name)!r}"


class Segmenter(nn.Module):
    """Encoder and a light convolutional head on its grid of tokens: images (B, 1, E, E) to logits (B, 1, E, E)."""

    def __init__(self, encoder: Encoder, *, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        width, patch = encoder.config.width_, encoder.config.patch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Sequential(
                nn.Conv2d(width, HEAD_WIDTH, 1),
                nn.GELU(),
                nn.Conv2d(HEAD_WIDTH, HEAD_WIDTH, 3, padding=1),
                nn.GELU(),
                nn.Conv2d(HEAD_WIDTH, patch**2, 1),
                nn.PixelShuffle(patch),
            )
        self.head.to(next(encoder.parameters()).device)

    def forward(self, x_B1EE: Tensor) -> Tensor:
        """The logit that a pixel is inside."""
        grid = self.encoder.config.grid
        tokens_BDN = self.encoder(x_B1EE)[:, 1:].transpose(1, 2)
        logits_B1EE: Tensor = self.head(tokens_BDN.unflatten(2, (grid, grid)))
        return logits_B1EE


def finetune(
    encoder: Encoder,
    train: Masked,
    validation: Masked,
    test: Masked,
    *,
    config: FinetuneConfig,
    budget: int,
    task: str,
    seed: int,
    batch: int = 128,
) -> DiceScore:
    """Dice after fine-tuning on `budget` labelled patients, mean over `config.repeats` draws of them.

    Args:
        encoder: Where training starts; a copy is trained, on the encoder's device.
        train: Images that the labelled patients are drawn from.
        validation: What chooses the threshold.
        test: What is scored; its patients should be in neither of the others.
        config: How it is trained.
        budget: Labelled patients, >= 1.
        task: The task's name; part of what fixes patients, order and head.
        seed: The run's seed.
        batch: Images a forward pass when scoring, >= 1.

    Returns:
        The score, or None with the reason: fewer patients than the budget, a split without an image or with empty
        masks only, training that diverged.
    """
    truths = [split.truth(side=encoder.config.side) for split in (train, validation, test)]
    reason = obstacle(*truths) or _too_few(train, budget=budget)
    if reason:
        return no_score(reason, truths[2])
    judged = []
    for repeat in range(config.repeats):
        labelled = train.of(labelled_patients(train, budget=budget, seed=derive(seed, "labelled", task, repeat)))
        if not labelled.truth(side=encoder.config.side).filled_N.any():
            return no_score(f"the mask of every image of the labelled patients is empty (repeat {repeat})", truths[2])
        model = train_segmenter(encoder, labelled, config=config, seed=derive(seed, "finetune", task, budget, repeat))
        one = _judge(model, validation, test, batch=batch)
        if one is None:
            return no_score(f"training diverged (repeat {repeat}); lower learning_rate", truths[2])
        judged.append(one)
    return summarize(judged, truths[2], seed=seed)


def labelled_patients(train: Masked, *, budget: int, seed: int) -> list[str]:
    """The first `budget` of the patients in an order that the seed alone decides."""
    names = np.unique(train.patients_N)
    return [str(name) for name in numpy_generator(seed, "order").permutation(names)[:budget]]


def train_segmenter(encoder: Encoder, labelled: Masked, *, config: FinetuneConfig, seed: int) -> Segmenter:
    """A trained copy of the encoder with its head; the global generators are left as they were."""
    device = next(encoder.parameters()).device
    model = Segmenter(copy.deepcopy(encoder).requires_grad_(config.learning_rate > 0), seed=derive(seed, "head"))
    optimizer = _optimizer(model, config)
    draws = numpy_generator(seed, "draws")
    rows = [np.flatnonzero(labelled.patients_N == name) for name in np.unique(labelled.patients_N)]
    schedule = TrainingConfig(learning_rate=1.0, final_fraction=0.0, warmup_fraction=config.warmup_fraction)
    model.train()
    # Fixed here for what draws from the global generator: an encoder's drop_path.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive(seed, "drop_path"))
        for step in range(config.steps):
            factor = learning_rate_at(step, total=config.steps, config=schedule)
            for group in optimizer.param_groups:
                group["lr"] = factor * group["peak"]
            images_B1EE, masks_B1EE = _batch(labelled, rows, draws, config=config, side=encoder.config.side)
            loss = dice_and_entropy(model(images_B1EE.to(device)), masks_B1EE.to(device))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model.eval()


def dice_and_entropy(logits_B1EE: Tensor, masks_B1EE: Tensor) -> Tensor:
    """1 - soft Dice + binary cross entropy, each of an image, then the mean of the images; a scalar."""
    inside = logits_B1EE.sigmoid()
    both_B = (inside * masks_B1EE).sum(dim=(1, 2, 3))
    sizes_B = (inside + masks_B1EE).sum(dim=(1, 2, 3))
    dice_B = (2 * both_B + 1) / (sizes_B + 1)  # 1 pixel on both sides: an empty mask has a Dice too
    return 1 - dice_B.mean() + functional.binary_cross_entropy_with_logits(logits_B1EE, masks_B1EE)


def _too_few(train: Masked, *, budget: int) -> str:
    patients = len(np.unique(train.patients_N))
    return "" if 1 <= budget <= patients else f"{budget} labelled patients asked for, {patients} have masks"


def _judge(model: Segmenter, validation: Masked, test: Masked, *, batch: int) -> Judged | None:
    """The test patients' Dice at the validation patients' threshold; None where a score is not finite."""
    side, device = model.encoder.config.side, next(model.parameters()).device

    def inside(split: Masked) -> Grid:
        scores_NSS: Grid = predict(lambda x: model(x).sigmoid(), split, side=side, device=device, batch=batch)[0]
        return scores_NSS

    held, tested = inside(validation), inside(test)
    if not (np.isfinite(held).all() and np.isfinite(tested).all()):
        return None
    threshold, _ = best_threshold(held, validation.truth(side=side))
    return judge(tested, test.truth(side=side), threshold=threshold)


def _optimizer(model: Segmenter, config: FinetuneConfig) -> torch.optim.Optimizer:
    """AdamW; each group keeps its peak rate under `peak`."""
    groups = []
    for part, peak in ((model.encoder, config.learning_rate), (model.head, config.head_learning_rate)):
        for decay, wanted in ((config.weight_decay, True), (0.0, False)):
            parameters = [p for p in part.parameters() if p.requires_grad and (p.ndim > 1) == wanted]
            if parameters:
                groups.append({"params": parameters, "weight_decay": decay, "peak": peak})
    return torch.optim.AdamW(groups, lr=config.head_learning_rate, fused=True)


def _batch(
    labelled: Masked, rows: Sequence[np.ndarray], draws: np.random.Generator, *, config: FinetuneConfig, side: int
) -> tuple[Tensor, Tensor]:
    """Images and masks (B, 1, E, E), cropped and flipped alike; the brightness of the images varies."""
    chosen = [rows[number] for number in draws.integers(len(rows), size=config.batch)]
    picked = np.array([own[draws.integers(len(own))] for own in chosen])
    seeds_B = torch.from_numpy(draws.integers(2**62, size=config.batch))
    settings = AugmentationConfig(crop_scale_min=config.crop_scale_min)
    images, masks = (torch.from_numpy(of[picked]) for of in (labelled.images_NSS, labelled.masks_NSS))
    images_B1EE = augment(images, seeds_B=seeds_B, side=side, settings=settings)
    return standardize(images_B1EE), augment_mask(masks, seeds_B=seeds_B, side=side, settings=settings)
