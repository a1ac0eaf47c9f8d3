"""From an encoder to the best state: bits that a kill does not change, and what chooses that state."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.data.labelled import Labelled
from core.errors import CheckpointError, ConfigError, DataError, TrainingError
from core.evaluation.downstream import Chooser
from core.federation.tensors import digest_of, state_of
from core.models.encoder import Encoder
from core.training.fit import SNAPSHOT, Fitted, Point, fit
from core.training.task import Task

Squares = Callable[..., Labelled]
Make = Callable[..., Task]
KINDS = ("segmentation", "classification", "enhancement")


class _Killed(Exception):
    pass


def told(fitted: Fitted) -> tuple[object, ...]:
    """All of a result but the time it took."""
    scalars = (fitted.threshold, fitted.curve, fitted.best_step, fitted.validation, fitted.steps, fitted.images)
    return (*scalars, fitted.note, fitted.start, digest_of(state_of(fitted.model)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_after_any_snapshot_changes_no_bit(
    squares: Squares, task: Make, small_encoder: Encoder, tmp_path: Path, kind: str
) -> None:
    splits = squares("a"), squares("v", seed=1)
    whole = fit(small_encoder, *splits, task=task(kind), seed=5)
    for kill in (2, 4, 6):
        folder = tmp_path / str(kill)

        def stop(point: Point, kill: int = kill) -> None:
            if point.step == kill:
                raise _Killed

        with pytest.raises(_Killed):
            fit(small_encoder, *splits, task=task(kind), seed=5, folder=folder, on_point=stop)
        torch.manual_seed(kill)
        points: list[Point] = []
        again = fit(small_encoder, *splits, task=task(kind), seed=5, folder=folder, on_point=points.append)
        assert [point.step for point in points] == [step for step in (2, 4, 6) if step > kill]
        assert told(again) == told(whole)


def test_a_kill_between_snapshots_changes_no_bit(
    squares: Squares, task: Make, small_encoder: Encoder, tmp_path: Path
) -> None:
    splits = squares("a"), squares("v", seed=1)

    def stop(step: int, loss: float, images: int) -> None:
        if step == 3:
            raise _Killed

    with pytest.raises(_Killed):
        fit(small_encoder, *splits, task=task(), seed=5, folder=tmp_path, on_step=stop)
    steps: list[int] = []
    again = fit(small_encoder, *splits, task=task(), seed=5, folder=tmp_path, on_step=lambda s, *_: steps.append(s))
    assert steps == [2, 3, 4, 5]  # the snapshot is that after two steps
    assert told(again) == told(fit(small_encoder, *splits, task=task(), seed=5))


def test_seed_stream_and_name_decide(squares: Squares, task: Make, small_encoder: Encoder) -> None:
    splits, own = (squares("a"), squares("v", seed=1)), task()
    first = fit(small_encoder, *splits, task=own, seed=5)
    assert told(fit(small_encoder, *splits, task=own, seed=5)) == told(first)
    others = [
        fit(small_encoder, *splits, task=own, seed=6),
        fit(small_encoder, *splits, task=own, seed=5, stream="north"),
        fit(small_encoder, *splits, task=replace(own, name="other"), seed=5),
    ]
    assert len({digest_of(state_of(fitted.model)) for fitted in (first, *others)}) == 4


def test_a_snapshot_of_other_arguments_is_refused(
    squares: Squares, task: Make, small_encoder: Encoder, tmp_path: Path
) -> None:
    train, validation = squares("a"), squares("v", seed=1)
    fit(small_encoder, train, validation, task=task(), seed=5, folder=tmp_path)
    for change in (
        {"seed": 6},
        {"steps": 7},
        {"stream": "north"},
        {"task": task(batch=5)},
        {"train": squares("a", seed=2)},
        {"validation": squares("w", seed=1)},
    ):
        given = {"train": train, "validation": validation, "task": task(), "seed": 5, **change}
        with pytest.raises(CheckpointError, match=r"is of another fine-tuning .* give another folder"):
            fit(small_encoder, folder=tmp_path, **given)
    path = tmp_path / SNAPSHOT
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="cannot be read"):
        fit(small_encoder, train, validation, task=task(), seed=5, folder=tmp_path)


def test_the_best_state_by_validation_is_kept_the_latest_of_equals(
    squares: Squares, task: Make, small_encoder: Encoder
) -> None:
    train, validation = squares("a"), squares("v", seed=1)
    wild = task(steps=12, evaluations=6, head_learning_rate=0.1, learning_rate=1e-3)
    fitted = fit(small_encoder, train, validation, task=wild, seed=1)
    scores = [point.validation for point in fitted.curve]
    assert [point.step for point in fitted.curve] == [2, 4, 6, 8, 10, 12]
    assert len(set(scores)) > 1  # else this shows nothing
    best = max(number for number, score in enumerate(scores) if score == max(scores))  # type: ignore[type-var]
    assert (fitted.best_step, fitted.validation) == (fitted.curve[best].step, scores[best])
    choice = Chooser(validation, task=wild, side=16, seed=0).choose(fitted.model)
    assert choice == (fitted.validation, fitted.threshold)
    assert not fitted.model.training


def test_steps_take_the_place_of_the_tasks_and_the_last_point_is_the_last_step(
    squares: Squares, task: Make, small_encoder: Encoder
) -> None:
    splits = squares("a"), squares("v", seed=1)
    fitted = fit(small_encoder, *splits, task=task(evaluations=3), seed=5, steps=5)
    assert [point.step for point in fitted.curve] == [2, 4, 5]  # thirds of 5, rounded up
    assert (fitted.steps, fitted.images) == (5, 5 * 4)
    fitted = fit(small_encoder, *splits, task=task(evaluations=9), seed=5, steps=2)
    assert [point.step for point in fitted.curve] == [1, 2]
    with pytest.raises(ConfigError, match="steps must be at least 1, got 0"):
        fit(small_encoder, *splits, task=task(), seed=5, steps=0)


def test_training_stops_once_patience_is_spent(
    squares: Squares, task: Make, small_encoder: Encoder, tmp_path: Path
) -> None:
    # rates so small that no validation prediction changes: every score equals the first
    still = {"steps": 8, "evaluations": 8, "encoder": "frozen", "head_learning_rate": 1e-12}
    splits = squares("a"), squares("v", seed=1)
    fitted = fit(small_encoder, *splits, task=task(**still, patience=3), seed=5, folder=tmp_path)
    assert [point.step for point in fitted.curve] == [1, 2, 3, 4]  # the first, and three that are no better
    assert fitted.note == "Stopped early, after 4 of 8 steps."
    again = fit(small_encoder, *splits, task=task(**still, patience=3), seed=5, folder=tmp_path)
    assert told(again) == told(fitted)
    assert len(fit(small_encoder, *splits, task=task(**still), seed=5).curve) == 8


def test_without_a_usable_validation_image_the_last_state_is_kept_and_said(
    squares: Squares, task: Make, small_encoder: Encoder
) -> None:
    train = squares("a")
    empty = squares("v").of([])
    blank = replace(squares("v"), masks_NSS=np.zeros_like(squares("v").masks_NSS))
    for validation, reason in ((empty, "no image"), (blank, "no mask that is not empty")):
        fitted = fit(small_encoder, train, validation, task=task(patience=1), seed=5)
        assert [point.validation for point in fitted.curve] == [None, None, None]
        assert (fitted.threshold, fitted.validation, fitted.best_step) == (0.5, None, 6)
        assert fitted.note == f"No validation score ({reason} of a validation patient): the last state is kept."


def test_validation_of_one_class_chooses_nothing(squares: Squares, task: Make, small_encoder: Encoder) -> None:
    validation = squares("v", seed=1)
    one = validation.at(validation.labels_N == 0)  # the state that calls everything small would be the best
    fitted = fit(small_encoder, squares("a"), one, task=task("classification", patience=1), seed=5)
    assert [point.validation for point in fitted.curve] == [None, None, None]
    assert fitted.best_step == fitted.steps == 6
    assert fitted.note == "No validation score (no second class of a validation patient): the last state is kept."


def test_more_evaluations_than_steps_are_one_a_step(squares: Squares, task: Make, small_encoder: Encoder) -> None:
    own = task(steps=3, evaluations=10**15)
    fitted = fit(small_encoder, squares("a"), squares("v", seed=1), task=own, seed=5)
    assert [point.step for point in fitted.curve] == [1, 2, 3]


def test_nothing_to_learn_from_is_refused(squares: Squares, task: Make, small_encoder: Encoder) -> None:
    train, validation = squares("a"), squares("v", seed=1)
    blank = replace(train, masks_NSS=np.zeros_like(train.masks_NSS))
    strange = replace(train, labels_N=train.labels_N + 1)  # type: ignore[operator]
    for given, kind, reason in (
        (train.of([]), "segmentation", "no image; label images of training patients"),
        (blank, "segmentation", "no mask that is not empty; label images of training patients"),
        (train.of(["a0"]), "classification", "all are of the class small; give images of two classes or more"),
        (strange, "classification", r"class numbers must lie in 0 to 1, found \[1, 2\]"),
        (train.of([]), "enhancement", "no image"),
    ):
        with pytest.raises(DataError, match=rf"north: training images of task squares: {reason}"):
            fit(small_encoder, given, validation, task=task(kind), seed=5, stream="north")


def test_one_image_and_one_patient_suffice(squares: Squares, task: Make, small_encoder: Encoder) -> None:
    for kind in ("segmentation", "enhancement"):
        one = squares("a").at(np.array([2]))
        assert fit(small_encoder, one, one, task=task(kind), seed=5).steps == 6
    labelled = replace(squares("a", patients=1), labels_N=np.array([0, 1]))
    assert fit(small_encoder, labelled, labelled, task=task("classification"), seed=5).steps == 6


def test_a_class_without_an_image_is_said(squares: Squares, task: Make, small_encoder: Encoder) -> None:
    own = replace(task("classification"), classes=["small", "large", "huge"])
    fitted = fit(small_encoder, squares("a"), squares("v", seed=1), task=own, seed=5)
    assert fitted.note == "No training image of huge."


def test_test_data_cannot_matter_and_training_data_do_not_choose_the_threshold(
    squares: Squares, task: Make, small_encoder: Encoder
) -> None:
    own = task(evaluations=1)  # one state, so that only the threshold is chosen
    train, validation = squares("a"), squares("v", seed=1)
    full = replace(validation, masks_NSS=np.ones_like(validation.masks_NSS))
    fitted, other = (fit(small_encoder, train, split, task=own, seed=5) for split in (validation, full))
    assert digest_of(state_of(fitted.model)) == digest_of(state_of(other.model))
    assert other.threshold == 0.05  # where all is inside, the lowest of the grid, and the lowest of equals
    assert fitted.threshold > other.threshold


def test_a_prediction_that_is_not_finite_is_an_error(squares: Squares, task: Make, small_encoder: Encoder) -> None:
    with torch.no_grad():
        small_encoder.norm.bias.fill_(1e38)
    with pytest.raises(TrainingError, match=r"tuning\.learning_rate"):
        fit(small_encoder, squares("a"), squares("v"), task=task("classification"), seed=5)


def test_times_are_counted(squares: Squares, task: Make, small_encoder: Encoder) -> None:
    fitted = fit(small_encoder, squares("a"), squares("v"), task=task(), seed=5)
    assert 0 < fitted.evaluation_seconds < fitted.seconds
