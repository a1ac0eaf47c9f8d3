"""A step moves what it should and nothing frozen; rates by level are BEiT's."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from core.data.labelled import Labelled
from core.errors import ConfigError, TrainingError
from core.federation.tensors import digest_of, state_of
from core.models.encoder import Encoder
from core.models.task_model import TaskModel, build_task_model
from core.training.finetune import FineTuning, parameter_groups
from core.training.labelled_source import LabelledSource
from core.training.task import Task

Squares = Callable[..., Labelled]
Make = Callable[..., Task]

BLOCKS = {f"encoder.blocks.{number}." for number in range(3)}
BEFORE = {"encoder.patch_embed.", "encoder.cls_token.", "encoder.rel_pos_bias."}
NORM, HEAD = {"encoder.norm."}, {"head."}


def trained(encoder: Encoder, labelled: Labelled, task: Task, *, steps: int = 3, first: int = 0) -> TaskModel:
    model = build_task_model(encoder, task, seed=1)
    source = LabelledSource(labelled=labelled, task=task, side=16, seed=1, stream="north")
    FineTuning(model, config=task.tuning, total_steps=6, seed=1).run(source, first=first, steps=steps)
    return model


def moved(model: TaskModel, encoder: Encoder, task: Task) -> set[str]:
    """Parts of which at least one value has changed; every parameter is in one part."""
    before = build_task_model(encoder, task, seed=1).state_dict()
    parts = BLOCKS | BEFORE | NORM | HEAD
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert all(name.startswith(tuple(parts)) for name in before)
    return {part for part in parts if any(name.startswith(part) for name in changed)}


@pytest.mark.parametrize(
    ("tuning", "expected"),
    [
        ({"encoder": "frozen"}, HEAD),
        ({"encoder": "all", "learning_rate": 0.0}, HEAD),
        ({"encoder": "last_blocks", "last_blocks": 1}, HEAD | NORM | {"encoder.blocks.2."}),
        ({"encoder": "last_blocks", "last_blocks": 2}, HEAD | NORM | {"encoder.blocks.1.", "encoder.blocks.2."}),
        ({"encoder": "last_blocks", "last_blocks": 99}, HEAD | NORM | BLOCKS),
        ({"encoder": "all"}, HEAD | NORM | BLOCKS | BEFORE),
    ],
)
def test_what_is_frozen_keeps_every_bit_and_the_rest_moves(
    squares: Squares, task: Make, small_encoder: Encoder, tuning: dict[str, object], expected: set[str]
) -> None:
    own = task(**tuning)
    model = trained(small_encoder, squares("a"), own)
    assert moved(model, small_encoder, own) == expected


@pytest.mark.parametrize("kind", ["segmentation", "classification", "enhancement"])
def test_every_trained_parameter_moves(squares: Squares, task: Make, small_encoder: Encoder, kind: str) -> None:
    own = task(kind, learning_rate=1e-2, head_learning_rate=1e-2)
    model = trained(small_encoder, squares("a"), own, steps=6)
    before = build_task_model(small_encoder, own, seed=1).state_dict()
    still = {name for name, value in model.named_parameters() if torch.equal(value, before[name])}
    assert still == set()


def test_the_encoder_that_training_starts_from_is_left_as_it_was(
    squares: Squares, task: Make, small_encoder: Encoder
) -> None:
    before = digest_of(state_of(small_encoder))
    trained(small_encoder, squares("a"), task())
    assert digest_of(state_of(small_encoder)) == before
    assert all(parameter.requires_grad for parameter in small_encoder.parameters())


def test_rates_by_level_are_powers_of_the_decay(task: Make, small_encoder: Encoder) -> None:
    config = task(learning_rate=0.8, head_learning_rate=0.9, layer_decay=0.5, weight_decay=0.1).tuning
    model = build_task_model(small_encoder, Task(), seed=0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates, decays = {}, {}
    for group in parameter_groups(model, config):
        for parameter in group["params"]:  # type: ignore[attr-defined]
            rates[names[id(parameter)]], decays[names[id(parameter)]] = group["peak"], group["weight_decay"]
    assert set(rates) == set(names.values())
    # three blocks: the norm and the bias table 0.8, blocks 0.4, 0.2, 0.1 from the last to the first, before them 0.05
    expected = {"encoder.norm.": 0.8, "encoder.rel_pos_bias.": 0.8, "encoder.blocks.2.": 0.4, "encoder.blocks.1.": 0.2,
                "encoder.blocks.0.": 0.1, "encoder.patch_embed.": 0.05, "encoder.cls_token.": 0.05,
                "head.": 0.9}  # fmt: skip
    for name, rate in rates.items():
        part = next(part for part in expected if name.startswith(part))
        assert rate == pytest.approx(expected[part])
    for name, parameter in model.named_parameters():
        assert decays[name] == (0.1 if parameter.ndim > 1 else 0.0)


def test_a_step_goes_at_the_rate_of_its_level(squares: Squares, task: Make, small_encoder: Encoder) -> None:
    config = {"learning_rate": 1e-3, "head_learning_rate": 2e-3, "layer_decay": 0.5, "warmup_fraction": 0.0}
    own = task(**config, weight_decay=0.0, clip_norm=1e6)
    model = trained(small_encoder, squares("a"), own, steps=1)
    before = build_task_model(small_encoder, own, seed=1).state_dict()
    # AdamW's first step is the rate times the sign of the gradient, wherever that is well above its epsilon
    for name, rate in (("encoder.blocks.0.mlp", 1.25e-4), ("encoder.blocks.2.mlp", 5e-4), ("head.layers.4", 2e-3)):
        steps = [(v - before[n]).abs().max().item() for n, v in model.state_dict().items() if n.startswith(name)]
        assert max(steps) == pytest.approx(rate, rel=0.01)


def test_the_same_seed_gives_the_same_bits_and_global_generators_are_left_alone(
    squares: Squares, task: Make, small_encoder: Encoder
) -> None:
    first = trained(small_encoder, squares("a"), task())
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = trained(small_encoder, squares("a"), task())
    assert torch.equal(torch.get_rng_state(), state)
    assert digest_of(state_of(first)) == digest_of(state_of(again))


def test_frozen_blocks_drop_no_paths(squares: Squares, task: Make, small_encoder: Encoder) -> None:
    labelled = squares("a")
    plain = Encoder(replace(small_encoder.config, drop_path=0.0))
    plain.load_state_dict(small_encoder.state_dict())
    for tuning, same in (({"encoder": "frozen"}, True), ({"encoder": "all"}, False)):
        heads = [digest_of(state_of(trained(encoder, labelled, task(**tuning)).head))
                 for encoder in (small_encoder, plain)]  # fmt: skip
        assert (heads[0] == heads[1]) == same


def test_a_loss_that_is_not_finite_moves_nothing_and_names_the_step(
    squares: Squares, task: Make, small_encoder: Encoder
) -> None:
    own = task()
    model = build_task_model(small_encoder, own, seed=1)
    with torch.no_grad():
        model.encoder.norm.weight.fill_(float("inf"))
    before = digest_of(state_of(model))
    source = LabelledSource(labelled=squares("a"), task=own, side=16, seed=1, stream="north")
    training = FineTuning(model, config=own.tuning, total_steps=6, seed=1)
    with pytest.raises(TrainingError, match=r"north: the loss is nan .* at step 2; lower tuning.learning_rate"):
        training.run(source, first=2, steps=1, where="north")
    assert digest_of(state_of(model)) == before


def test_the_summary_and_each_step_are_told(squares: Squares, task: Make, small_encoder: Encoder) -> None:
    own = task()
    source = LabelledSource(labelled=squares("a"), task=own, side=16, seed=1, stream="north")
    told: list[tuple[int, float, int]] = []
    training = FineTuning(build_task_model(small_encoder, own, seed=1), config=own.tuning, total_steps=6, seed=1)
    summary = training.run(source, first=2, steps=3, on_step=lambda *step: told.append(step))
    assert [(step, images) for step, _, images in told] == [(2, 4), (3, 4), (4, 4)]
    assert summary.loss == pytest.approx(sum(loss for _, loss, _ in told) / 3)
    assert summary.images == 12


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="the accelerator is there")
def test_an_accelerator_that_is_not_there_is_refused(squares: Squares, task: Make, small_encoder: Encoder) -> None:
    with pytest.raises(ConfigError, match=r"accelerator mps cannot be used on this machine .*give auto or cpu"):
        trained(small_encoder, squares("a"), task(accelerator="mps"))
