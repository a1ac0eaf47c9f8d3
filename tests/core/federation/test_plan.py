"""The plan: every change is another digest, and no document that is not a plan passes."""

import json
import math
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PlanError
from core.federation.plan import Plan, plan_from

OTHER: dict[str, Any] = {
    "study": "another", "seed": 8, "code_version": "9", "environment": {"torch": "0", "threads": 3}, "rounds": 4,
    "local_steps": 3, "encoder": {"size": "base"}, "objective": {"mask_ratio": 0.5}, "augmentation": {"flip": 0.0},
    "training": {"batch": 5}, "weighting": "fedavg", "local_state": "reset", "totals": {"liver": 1},
    "unused": {"eye": 1}, "mix": {"liver": 1.0}, "server": {"name": "fedadam"}, "codec": "bf16", "norm_bound": 1e9,
    "min_sites": 2, "tensors": {"a": (1,)}, "task": {"task": 1},
}  # fmt: skip


def changed(plan: Plan, **values: Any) -> str:
    """The plan's document with other values, as a forger would write it."""
    return json.dumps({**asdict(plan), **values})


def test_a_plan_comes_back_from_its_document(plan: Plan) -> None:
    assert plan_from(plan.document) == plan
    assert plan_from(plan.document).digest == plan.digest
    assert len(plan.digest) == 64


def test_a_plan_of_pretraining_says_nothing_of_tasks_so_its_digest_is_that_of_older_code(plan: Plan) -> None:
    assert plan.task is None
    assert "task" not in json.loads(plan.document)


def test_layout_and_order_of_a_document_change_no_digest(plan: Plan) -> None:
    values = dict(reversed(json.loads(plan.document).items()))
    assert plan_from(json.dumps(values, indent=3)).digest == plan.digest


def test_every_field_is_in_the_digest(plan: Plan) -> None:
    linked = {"counts", "weights", "draws", "schema_version"}  # changed below, or not at all
    assert set(OTHER) | linked == {item.name for item in fields(Plan)}
    digests = {replace(plan, **{name: value}).digest for name, value in OTHER.items()}
    assert len(digests | {plan.digest}) == 1 + len(OTHER)


def test_tampered_counts_weights_and_draws_are_another_plan(plan: Plan) -> None:
    forged = [
        changed(plan, counts={**plan.counts, "east": {"breast": 4}}),
        changed(plan, weights={"east": 0.9, "north": 0.1}),
        changed(plan, draws={**plan.draws, "east": {"breast": 1.0}}),
    ]
    assert plan.digest not in {plan_from(document).digest for document in forged}


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ({"east": 0.9, "north": 0.2}, "weights sum to 1.1"),
        ({"east": 2.0, "north": -1.0}, "must all lie in"),
        ({"east": 1.0, "north": 0.0}, "must all lie in"),
        ({"east": math.nan, "north": 0.5}, "must all lie in"),
        ({"east": math.inf, "north": -math.inf}, "must all lie in"),
        ({"east": 1.0}, "name different sites"),
        ({"east": 0.5, "mallory": 0.5}, "name different sites"),
        ({"east": "0.5", "north": 0.5}, "not a plan"),
        ({}, "weights sum to 0"),
        ([0.5, 0.5], "not a plan"),
        (None, "not a plan"),
    ],
)
def test_impossible_weights_are_refused(plan: Plan, weights: Any, problem: str) -> None:
    with pytest.raises(PlanError, match=problem):
        plan_from(changed(plan, weights=weights))


@pytest.mark.parametrize("own", [{"breast": 0.4}, {"breast": 1.5, "liver": -0.5}, {"breast": math.nan}, {}])
def test_impossible_draws_are_refused(plan: Plan, own: dict[str, float]) -> None:
    with pytest.raises(PlanError, match="draws of east"):
        plan_from(changed(plan, draws={**plan.draws, "east": own}))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"rounds": 0}, "rounds 0"),
        ({"rounds": 2.5}, "rounds 2.5"),
        ({"rounds": "3"}, "rounds 3"),
        ({"rounds": True}, "rounds True"),
        ({"local_steps": -1}, "local_steps -1"),
        ({"min_sites": 0}, "min_sites 0 must lie between 1 and the 2 sites"),
        ({"min_sites": 3}, "min_sites 3"),
        ({"norm_bound": 0}, "norm_bound 0"),
        ({"norm_bound": math.nan}, "norm_bound nan"),
        ({"norm_bound": math.inf}, "norm_bound inf"),
        ({"codec": "pickle"}, "codec 'pickle' is unknown"),
        ({"codec": ["exact"]}, "is unknown"),
        ({"schema_version": 1}, "schema version 1 is not 2; upgrade the older side"),
        ({"schema_version": "x" * 99}, "schema version x{20} is not 2"),
        ({"local_state": "lost"}, "local_state must be one of kept, reset, got 'lost'"),
        ({"tensors": []}, "not a plan"),
        ({"tensors": {"a": "12x"}}, "not a plan"),
        ({"extra": 1}, "missing or unknown: extra"),
    ],
)
def test_impossible_values_are_refused(plan: Plan, values: dict[str, Any], problem: str) -> None:
    with pytest.raises(PlanError, match=problem):
        plan_from(changed(plan, **values))


def test_a_missing_field_is_named(plan: Plan) -> None:
    values = asdict(plan)
    del values["norm_bound"]
    with pytest.raises(PlanError, match="missing or unknown: norm_bound"):
        plan_from(json.dumps(values))


def test_all_problems_come_at_once(plan: Plan) -> None:
    with pytest.raises(PlanError) as caught:
        plan_from(changed(plan, rounds=0, min_sites=9, norm_bound=-1, codec="x"))
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("document", ["", "{", "null", "[]", "3", '"plan"', "{}", "NaN", "[" * 100_000])
def test_what_is_no_plan_is_refused(document: str) -> None:
    with pytest.raises(PlanError, match="plan"):
        plan_from(document)


@given(
    st.recursive(st.none() | st.integers() | st.text() | st.floats(), lambda inner: st.dictionaries(st.text(), inner))
)
def test_no_json_gets_anything_but_a_plan_error(value: Any) -> None:
    with pytest.raises(PlanError):
        plan_from(json.dumps(value))
