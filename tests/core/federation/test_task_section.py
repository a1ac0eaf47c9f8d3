"""A plan of fine-tuning: every word of the task is in its digest; what travels is what is trained, and nothing else."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from core.errors import ConfigError, PlanError
from core.federation.plan import Plan, plan_from
from core.federation.task_section import (
    TaskSection,
    planned_model,
    section_of,
    start_problems,
    task_from,
    task_from_json,
    task_to_json,
    travelling,
    tuning_bound,
)
from core.federation.tensors import digest_of, state_of
from core.training.finetune import FineTuning
from core.training.labelled_source import LabelledSource
from core.training.task import Task
from server.task_study import TaskPlan, TaskStudyConfig, make_task_plan

COUNTS = {"east": {"lesion": 3}, "north": {"lesion": 1}}


def leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name)


def other(value: Any) -> Any:
    """Another plain value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return [*value, "x"] if isinstance(value, list) else {"west": "x"} if isinstance(value, dict) else f"{value}x"


def changed(section: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    copy = json.loads(json.dumps(section))
    place = copy
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = other(place[path[-1]])
    return dict(copy)


def test_a_section_comes_back_from_the_plans_document(task_planned: TaskPlan, task_study: TaskStudyConfig) -> None:
    section = section_of(plan_from(task_planned.plan.document))
    assert section == section_of(task_planned.plan)
    assert section.task.name == task_study.task.name
    assert section.task.tuning.steps == 3 * 2  # rounds x local steps, whatever the task said
    assert section.start == digest_of(task_planned.start)


def test_every_field_of_the_section_changes_the_digest(task_planned: TaskPlan) -> None:
    plan = task_planned.plan
    assert plan.task is not None
    paths = list(leaves(plan.task))
    assert ("task", "tuning", "encoder") in paths
    assert ("task", "head", "kind") in paths
    assert ("start",) in paths
    digests = {replace(plan, task=changed(plan.task, path)).digest for path in paths}
    assert len(digests | {plan.digest}) == 1 + len(paths)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (None, "needs task, start and without_label"),
        ({}, "needs task, start and without_label"),
        ({"start": 3}, "must be a digest"),
        ({"without_label": ["west"]}, "a reason for each site"),
        ({"without_label": {"west": 1}}, "a reason for each site"),
        ({"without_label": {"east": "has none"}}, "east has a weight and stands in task.without_label too"),
        ({"task": {"name": "lesion"}}, "a field is not said"),
        ({"task": []}, "not a section"),
    ],
)
def test_a_section_that_is_none_is_refused(task_planned: TaskPlan, values: Any, problem: str) -> None:
    plan = task_planned.plan
    assert plan.task is not None
    forged = {**plan.task, **values} if values else values
    with pytest.raises(PlanError, match=problem):
        section_of(replace(plan, task=forged))


def test_a_task_comes_back_from_its_document() -> None:
    task = Task(name="views", kind="classification", classes=["a", "b|c"])
    assert task_from_json(task_to_json(task)) == task


@pytest.mark.parametrize("document", ["", "{", "[]", "3", "null", '{"name": 3}', "[" * 100_000])
def test_what_is_no_task_is_refused(document: str) -> None:
    with pytest.raises(ConfigError, match="task"):
        task_from_json(document)


def test_a_field_out_of_range_or_unknown_is_refused() -> None:
    values = asdict(Task())
    for wrong in ({"batch": 0}, {"learning_rate": "fast"}, {"colour": 1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            task_from({**values, "tuning": {**values["tuning"], **wrong}})


@pytest.mark.parametrize(("encoder", "rate"), [("frozen", 3e-4), ("last_blocks", 3e-4), ("all", 3e-4), ("all", 0.0)])
def test_what_travels_is_what_is_trained(tuned: Callable[..., TaskStudyConfig], encoder: str, rate: float) -> None:
    plan, model, start = make_task_plan(tuned(encoder=encoder, learning_rate=rate), COUNTS)
    own = {name for name in plan.tensors if name.startswith("encoder.")}
    whole = {f"encoder.{name}" for name in start}
    wanted = {
        "frozen": set(),
        # depth 2, last_blocks 1: the second block and the norm behind it
        "last_blocks": {name for name in whole if name.startswith(("encoder.blocks.1.", "encoder.norm."))},
        "all": whole if rate else set(),
    }
    assert own == wanted[encoder]
    assert set(plan.tensors) - own == {
        name for name in state_of(planned_model(plan, start)) if name.startswith("head.")
    }
    assert set(model) == set(plan.tensors)


def test_a_start_that_is_not_the_plans_is_named(task_planned: TaskPlan) -> None:
    plan, _, start = task_planned
    name = min(start)
    assert start_problems(plan, start) == []
    assert start_problems(plan, {}) == [f"{len(start)} tensors are missing, first {name}"]
    assert "1 tensors are not in the plan" in start_problems(plan, {**start, "extra": start[name]})[0]
    assert "the plan says" in start_problems(plan, {**start, name: start[name][None]})[0]
    assert start_problems(plan, {**start, name: start[name] * np.float32(np.nan)}) == [f"{name} holds NaN or infinity"]
    moved = {**start, name: start[name] + np.float32(1)}
    assert start_problems(plan, moved) == [
        f"its digest is {digest_of(moved)[:12]}, the plan says {digest_of(start)[:12]}"
    ]


@pytest.mark.parametrize("encoder", [{}, {"size": "custom"}, {"width": "wide"}, {"patch": 5}, {"colour": 1}])
def test_an_encoder_that_cannot_be_built_is_a_plan_error(task_planned: TaskPlan, encoder: dict[str, Any]) -> None:
    forged = replace(task_planned.plan, encoder=encoder or None)
    with pytest.raises(PlanError, match="plan: its encoder cannot be built"):
        start_problems(forged, task_planned.start)


def test_a_plan_that_lets_the_frozen_encoder_travel_is_refused(tuned: Callable[..., TaskStudyConfig]) -> None:
    plan, _, start = make_task_plan(tuned(encoder="frozen"), COUNTS)
    forged = replace(plan, tensors={**plan.tensors, "encoder.norm.weight": (16,)})
    with pytest.raises(PlanError, match=r"its tensors are not those that task lesion trains \(frozen\)"):
        planned_model(forged, start)


@pytest.mark.parametrize("encoder", ["frozen", "last_blocks", "all"])
def test_no_honest_round_exceeds_the_bound(
    tuned: Callable[..., TaskStudyConfig], task_node: Callable[..., dict[str, Any]], encoder: str
) -> None:
    from client.site import site_from

    plan, _, start = make_task_plan(tuned(encoder=encoder, warmup_fraction=0.0), COUNTS)
    task = section_of(plan).task
    model = planned_model(plan, start)
    before = state_of(model)
    source = LabelledSource(
        labelled=site_from(task_node("east")).labelled(task), task=task, side=16, seed=7, stream="east"
    )
    FineTuning(model, config=task.tuning, total_steps=6, seed=7).run(source, first=0, steps=2)
    moved = sum(float(np.square(value - before[name]).sum()) for name, value in state_of(model).items()) ** 0.5
    assert 0 < moved <= plan.norm_bound
    assert plan.norm_bound == tuning_bound(model, task.tuning, steps=2)
    # The bound is 1.5 x 3.162 x 2 steps x sqrt(sum over parameters of rate^2); with the head alone 3e-3 for each.
    if encoder == "frozen":
        head = sum(np.prod(shape, dtype=int) for shape in plan.tensors.values())
        assert plan.norm_bound == pytest.approx(1.5 * 0.1 / 0.001**0.5 * 2 * 3e-3 * head**0.5)


def test_travelling_is_the_plans_specification(task_planned: TaskPlan) -> None:
    plan: Plan = task_planned.plan
    assert travelling(planned_model(plan, task_planned.start)) == plan.tensors
    assert isinstance(section_of(plan), TaskSection)
