"""A hospital in a fine-tuning: what stays still stays, what the server sends is checked, what leaves is the plan's."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from client.site import site_from
from client.trainer import Trainer
from core.errors import PlanError
from core.federation.tensors import Tensors, digest_of
from core.federation.update import Folded, Instruction, Update, check_metrics
from server.task_study import TaskPlan, TaskStudyConfig, make_task_plan

Node = Callable[..., dict[str, Any]]
COUNTS = {"east": {"lesion": 3}, "north": {"lesion": 1}}


def hospital(node: Node, planned: TaskPlan, name: str = "east") -> Trainer:
    site = site_from(node(name))
    assert site.consider(planned.plan.document, start=planned.start) == (True, "")
    return Trainer(site=site)


def instruction(planned: TaskPlan, **changes: Any) -> Instruction:
    return Instruction(
        **{"plan_digest": planned.plan.digest, "round": 0, "base": planned.model, "folded": None, **changes}
    )


def trained(trainer: Trainer, told: Instruction) -> Update:
    update = trainer.round(told)
    assert isinstance(update, Update)
    return update


@pytest.mark.parametrize("encoder", ["frozen", "last_blocks", "all"])
def test_only_what_is_trained_leaves_and_the_rest_is_bit_equal(
    tuned: Callable[..., TaskStudyConfig], task_node: Node, encoder: str
) -> None:
    planned = make_task_plan(tuned(encoder=encoder), COUNTS)
    trainer = hospital(task_node, planned)
    update = trained(trainer, instruction(planned))
    assert set(update.arrays) == set(planned.plan.tensors)
    learner = trainer._prepare(planned.plan)
    now = learner.model.state_dict()
    start = {f"encoder.{name}": value for name, value in planned.start.items()}
    still = {name: value for name, value in start.items() if name not in update.arrays}
    assert digest_of(learner.still) == digest_of(still)
    assert {"frozen": len(still) == len(start), "all": not still}.get(encoder, 0 < len(still) < len(start))
    for name, value in still.items():
        np.testing.assert_array_equal(now[name].numpy(), value)
    moved = [name for name, value in update.arrays.items() if not np.array_equal(value, planned.model[name])]
    assert set(moved) == set(update.arrays)  # with warm-up the first step has a rate above 0, so each one moves


def test_the_metrics_are_of_the_allow_list(task_planned: TaskPlan, task_node: Node) -> None:
    metrics = trained(hospital(task_node, task_planned), instruction(task_planned)).metrics
    check_metrics(metrics)
    assert set(metrics) == {"loss", "images", "seconds"}
    assert metrics["images"] == 2 * 3  # steps x batch


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda base: {**base, "encoder.extra": np.zeros(1, np.float32)}, "1 tensors are not in the plan"),
        (lambda base: dict(list(base.items())[1:]), "1 tensors are missing"),
        (lambda base: {name: value[..., None] for name, value in base.items()}, "the plan says"),
        (lambda base: {name: value * np.float32(np.nan) for name, value in base.items()}, "holds NaN or infinity"),
    ],
)
@pytest.mark.parametrize("encoder", ["frozen", "all"])
def test_a_hostile_model_is_refused(
    tuned: Callable[..., TaskStudyConfig], task_node: Node, encoder: str, damage: Callable[..., Tensors], reason: str
) -> None:
    planned = make_task_plan(tuned(encoder=encoder), COUNTS)
    with pytest.raises(PlanError, match="the model from the server is refused") as caught:
        hospital(task_node, planned).round(instruction(planned, base=damage(planned.model)))
    assert reason in str(caught.value)


def test_a_frozen_encoder_that_travels_all_the_same_is_refused(
    tuned: Callable[..., TaskStudyConfig], task_node: Node
) -> None:
    planned = make_task_plan(tuned(encoder="frozen"), COUNTS)
    base = {**planned.model, "encoder.norm.weight": np.zeros(16, np.float32)}
    with pytest.raises(PlanError, match=r"1 tensors are not in the plan, first encoder\.norm\.weight"):
        hospital(task_node, planned).round(instruction(planned, base=base))


def test_a_first_model_with_another_encoder_is_refused(task_planned: TaskPlan, task_node: Node) -> None:
    name = "encoder.norm.weight"
    base = {**task_planned.model, name: task_planned.model[name] + np.float32(1)}
    trainer = hospital(task_node, task_planned)
    with pytest.raises(PlanError, match=f"{name} is not that of the encoder that the plan starts from"):
        trainer.round(instruction(task_planned, base=base))
    trained(trainer, instruction(task_planned, base=base, round=1))  # later it has been trained, and may differ


def test_moments_go_on_after_a_fold_and_after_a_new_start_of_the_hospital(
    task_planned: TaskPlan, task_node: Node
) -> None:
    one = hospital(task_node, task_planned)
    first = trained(one, instruction(task_planned))
    folded = Folded(round=0, digest=digest_of(first.arrays))
    second = instruction(task_planned, round=1, base=first.arrays, folded=folded)
    expected = digest_of(trained(one, second).arrays)
    assert digest_of(trained(Trainer(site=one.site), second).arrays) == expected
    assert digest_of(trained(one, replace(second, folded=None)).arrays) != expected


def test_an_encoder_that_was_changed_on_disk_is_not_trained(
    task_study: TaskStudyConfig, task_planned: TaskPlan, task_node: Node
) -> None:
    one = hospital(task_node, task_planned)
    another = make_task_plan(replace(task_study, seed=8), COUNTS)
    other = site_from(task_node("east", folder=str(one.site.folder) + "-other"))
    assert other.consider(another.plan.document, start=another.start) == (True, "")
    (one.site.folder / "start.safetensors").write_bytes((other.folder / "start.safetensors").read_bytes())
    with pytest.raises(PlanError, match=r"start\.safetensors: its digest is"):
        one.round(instruction(task_planned))
