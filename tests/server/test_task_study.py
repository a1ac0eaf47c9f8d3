"""Who counts how much in a fine-tuning, who sits out, and what the plan refuses."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.errors import ConfigError, PlanError
from core.federation.task_section import section_of, task_model
from core.federation.tensors import digest_of, state_of
from core.models.build import build_model
from core.models.encoder import build_encoder
from core.seeding import derive
from core.training.task import Task
from server.study import FederationConfig
from server.task_study import (
    TaskPlan,
    TaskStudyConfig,
    labelled_shares,
    make_task_plan,
    task_study_from_json,
    task_study_to_json,
)

TASK = Task(name="lesion")
COUNTS = {"east": {"lesion": 3}, "north": {"lesion": 1}, "west": {"lesion": 0}}


def test_weights_are_shares_of_labelled_patients() -> None:
    shares, without = labelled_shares(COUNTS, task=TASK, floor=1)
    assert shares.weights == {"east": 3 / (3 + 1), "north": 1 / (3 + 1)}
    assert shares.draws == {"east": {"lesion": 1.0}, "north": {"lesion": 1.0}}
    assert (shares.totals, shares.mix) == ({"lesion": 4}, {"lesion": 1.0})
    assert without == {"west": "holds no label of task lesion"}


def test_a_cap_hands_the_rest_to_the_others() -> None:
    shares, _ = labelled_shares(COUNTS, task=TASK, floor=1, cap=0.6)
    assert shares.weights == pytest.approx({"east": 0.6, "north": 0.4})


def test_a_site_without_labels_is_in_the_section_and_nowhere_else(task_planned: TaskPlan) -> None:
    plan = task_planned.plan
    assert set(plan.weights) == set(plan.counts) == set(plan.draws) == {"east", "north"}
    assert plan.counts == {"east": {"lesion": 3}, "north": {"lesion": 1}}
    assert section_of(plan).without_label == {"west": "holds no label of task lesion"}
    assert plan.weighting == "labelled_patients"


def test_too_few_labelled_patients_is_a_plan_error(task_study: TaskStudyConfig) -> None:
    study = replace(task_study, federation=replace(task_study.federation, min_patients=5))
    with pytest.raises(PlanError, match="4 patients of all sites have a label of task lesion, fewer than 5"):
        make_task_plan(study, COUNTS)
    with pytest.raises(PlanError, match="0 patients of all sites have a label"):
        make_task_plan(task_study, {"west": {"lesion": 0}})


def test_counts_of_something_else_are_named_with_their_site() -> None:
    counts: dict[str, Any] = {"east": {"liver": 3}, "north": {}, "west": {"lesion": 1}}
    with pytest.raises(PlanError) as caught:
        labelled_shares(counts, task=TASK, floor=1)
    assert list(caught.value.problems) == [
        "site east counts liver, not patients with a label of lesion",
        "site north counts nothing, not patients with a label of lesion",
    ]


def test_random_weights_are_those_that_pretraining_begins_with(task_study: TaskStudyConfig) -> None:
    start = make_task_plan(task_study, COUNTS).start
    pretrained = state_of(build_model(task_study_to_json(task_study)["encoder"], {}, seed=7))
    assert digest_of(start) == digest_of(
        {name.removeprefix("encoder."): v for name, v in pretrained.items() if name.startswith("encoder.")}
    )


def test_the_first_model_is_the_start_with_a_fresh_head(task_study: TaskStudyConfig) -> None:
    encoder = build_encoder(task_study.encoder, seed=derive(99, "another"))
    given = state_of(encoder)
    plan, model, start = make_task_plan(task_study, COUNTS, start=given)
    assert digest_of(start) == digest_of(given) == section_of(plan).start
    assert digest_of(model) == digest_of(state_of(task_model(encoder, task_study.task, seed=7)))
    assert make_task_plan(task_study, COUNTS).plan.digest != plan.digest


def test_a_start_of_another_architecture_is_refused(task_study: TaskStudyConfig) -> None:
    given = state_of(build_encoder(replace(task_study.encoder, depth=1), seed=0))
    with pytest.raises(PlanError, match=r"the encoder to start from: .* tensors are missing"):
        make_task_plan(task_study, COUNTS, start=given)


def test_a_study_comes_back_from_plain_values(task_study: TaskStudyConfig) -> None:
    assert task_study_from_json(task_study_to_json(task_study)) == task_study


def test_what_would_do_nothing_must_be_left_out(
    task_study: TaskStudyConfig, tuned: Callable[..., TaskStudyConfig]
) -> None:
    with pytest.raises(ConfigError, match=r"federation\.tau is of pretraining"):
        replace(task_study, federation=FederationConfig(tau=1.0))
    with pytest.raises(ConfigError, match="not stopped early"):
        tuned(patience=2)


def test_the_model_is_float32_and_finite(task_planned: TaskPlan) -> None:
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in task_planned.model.values())
