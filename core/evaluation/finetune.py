"""What an encoder is worth as a start: it and a small head learn to segment from a few labelled patients.

For a fixed number of steps; nothing is stopped early and nothing is chosen but the threshold, on validation patients.
Budgets count patients. The patients of a small budget are among those of a larger one. Patients, order of images,
crops and the head's first weights follow from (seed, task, repeat, budget) alone, so every arm gets the same.

The head and its loss are `core.models.heads.light`, the step is `core.training.finetune`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.augmentation import AugmentationConfig, augment, augment_mask, standardize
from core.errors import ConfigError, TrainingError
from core.evaluation.dice import DiceScore, Grid, Judged, best_threshold, judge, no_score, obstacle, summarize
from core.evaluation.masked import Masked, predict
from core.models.encoder import Encoder
from core.models.task_model import TaskModel, build_task_model
from core.seeding import derive, numpy_generator
from core.training.finetune import FineTuning
from core.training.task import Task, TuningConfig

# B batch, E side


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
        try:
            _ = self.tuning
        except ConfigError as error:
            yield from (problem.removeprefix("tuning.") for problem in error.problems)
        if not 1 <= self.repeats <= 100:
            yield f"repeats must lie in [1, 100], got {self.repeats}"

    @property
    def tuning(self) -> TuningConfig:
        """These fields, and for the others what this score is defined by; raises ConfigError."""
        names = {item.name for item in fields(TuningConfig)} & {item.name for item in fields(self)}
        own = {name: getattr(self, name) for name in sorted(names)}
        return TuningConfig(encoder="all", layer_decay=1.0, clip_norm=1.0, precision="32-true", **own)


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
        own = derive(seed, "finetune", task, budget, repeat)
        one = _trained_and_judged(encoder, labelled, validation, test, config=config, seed=own, batch=batch)
        if one is None:
            return no_score(f"training diverged (repeat {repeat}); lower learning_rate", truths[2])
        judged.append(one)
    return summarize(judged, truths[2], seed=seed)


def labelled_patients(train: Masked, *, budget: int, seed: int) -> list[str]:
    """The first `budget` of the patients in an order that the seed alone decides."""
    names = np.unique(train.patients_N)
    return [str(name) for name in numpy_generator(seed, "order").permutation(names)[:budget]]


def train_segmenter(encoder: Encoder, labelled: Masked, *, config: FinetuneConfig, seed: int) -> TaskModel:
    """A trained copy of the encoder with its head; the global generators are left as they were.

    Raises:
        TrainingError: A loss or its gradient is not finite.
    """
    tuning = replace(config.tuning, accelerator=next(encoder.parameters()).device.type)
    model = build_task_model(encoder, Task(tuning=tuning), seed=seed)
    training = FineTuning(model, config=tuning, total_steps=tuning.steps, seed=seed)
    drawn = _Drawn(labelled, config, encoder.config.side, numpy_generator(seed, "draws"))
    training.run(drawn, first=0, steps=tuning.steps)
    return model.eval()


def _too_few(train: Masked, *, budget: int) -> str:
    patients = len(np.unique(train.patients_N))
    return "" if 1 <= budget <= patients else f"{budget} labelled patients asked for, {patients} have masks"


def _trained_and_judged(
    encoder: Encoder,
    labelled: Masked,
    validation: Masked,
    test: Masked,
    *,
    config: FinetuneConfig,
    seed: int,
    batch: int,
) -> Judged | None:
    try:
        model = train_segmenter(encoder, labelled, config=config, seed=seed)
    except TrainingError:
        return None
    return _judge(model, validation, test, batch=batch)


def _judge(model: TaskModel, validation: Masked, test: Masked, *, batch: int) -> Judged | None:
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


@dataclass
class _Drawn:
    """One generator draws the batches, each after the one before it: they must be asked for in order."""

    labelled: Masked
    config: FinetuneConfig
    side: int
    draws: np.random.Generator
    taken: int = 0
    """Batches so far."""

    @cached_property
    def _rows(self) -> list[NDArray[np.intp]]:
        """Each patient's images."""
        return [np.flatnonzero(self.labelled.patients_N == name) for name in np.unique(self.labelled.patients_N)]

    def batch(self, step: int, *, size: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Images and masks (B, 1, E, E), cropped and flipped alike; the brightness of the images varies."""
        assert step == self.taken
        self.taken += 1
        chosen = [self._rows[number] for number in self.draws.integers(len(self._rows), size=size)]
        picked = np.array([own[self.draws.integers(len(own))] for own in chosen])
        seeds_B = torch.from_numpy(self.draws.integers(2**62, size=size))
        settings = AugmentationConfig(crop_scale_min=self.config.crop_scale_min)
        images, masks = (torch.from_numpy(of[picked]) for of in (self.labelled.images_NSS, self.labelled.masks_NSS))
        images_B1EE = standardize(augment(images, seeds_B=seeds_B, side=self.side, settings=settings))
        masks_B1EE = augment_mask(masks, seeds_B=seeds_B, side=self.side, settings=settings)
        return images_B1EE.to(device), masks_B1EE.to(device)
