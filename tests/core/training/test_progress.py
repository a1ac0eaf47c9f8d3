"""How far a fine-tuning has come: what counts as no better, and a file that is of this run or refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core.data.labelled import Labelled
from core.errors import CheckpointError
from core.federation.tensors import digest_of, state_of
from core.models.encoder import Encoder
from core.models.task_model import build_task_model
from core.training.finetune import FineTuning
from core.training.fitted import Point
from core.training.labelled_source import LabelledSource
from core.training.progress import Progress, load_progress, save_progress
from core.training.task import Task

Squares = Callable[..., Labelled]
Make = Callable[..., Task]


def after(*scores: float | None) -> Progress:
    curve = [Point(step=number, loss=1.0, validation=score) for number, score in enumerate(scores)]
    return Progress(threshold=0.5, curve=curve)


@pytest.mark.parametrize(
    ("scores", "stale", "best"),
    [
        ([], 0, float("-inf")),
        ([None, None], 0, float("-inf")),
        ([0.5], 0, 0.5),
        ([0.5, 0.4, 0.5], 2, 0.5),  # as good is no better
        ([0.5, 0.4, 0.6], 0, 0.6),
        ([0.5, 0.6, 0.4, 0.55], 2, 0.6),  # better than the one before, not than the best
        ([-1.0, -2.0], 1, -1.0),
    ],
)
def test_scores_without_a_better_one_are_counted(scores: list[float | None], stale: int, best: float) -> None:
    assert (after(*scores).stale, after(*scores).best_score) == (stale, best)


def training_of(encoder: Encoder, task: Task, *, seed: int) -> FineTuning:
    return FineTuning(build_task_model(encoder, task, seed=seed), config=task.tuning, total_steps=6, seed=1)


def test_weights_moments_and_progress_come_back(
    squares: Squares, task: Make, small_encoder: Encoder, tmp_path: Path
) -> None:
    own = task()
    source = LabelledSource(labelled=squares("a"), task=own, side=16, seed=1, stream="north")
    first, second = (training_of(small_encoder, own, seed=seed) for seed in (1, 2))
    first.run(source, first=0, steps=2)
    done = Progress(threshold=0.3, step=2, curve=[Point(step=2, loss=0.7, validation=None)], best_step=1,
                    best={"w": torch.ones(2).numpy()}, seconds=3.5, evaluation_seconds=0.5)  # fmt: skip
    save_progress(tmp_path / "p", done, first, identity="me")
    again = load_progress(tmp_path / "p", second, identity="me")
    assert digest_of(again.best) == digest_of(done.best)
    again.best = done.best
    assert again == done
    for training in (first, second):
        training.run(source, first=2, steps=2)
    assert digest_of(state_of(first.model)) == digest_of(state_of(second.model))
    with pytest.raises(CheckpointError, match="of another fine-tuning"):
        load_progress(tmp_path / "p", second, identity="you")
