"""From configuration and counts to plan and first model."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core.errors import ConfigError, PlanError
from core.federation.organs import fedavg, organ_aware
from core.federation.plan import plan_from
from core.federation.tensors import digest_of, spec_of
from core.training.settings import update_bound
from server.study import FederationConfig, StudyConfig, make_plan, study_from_json, study_to_json

COUNTS = {"north": {"liver": 3, "breast": 1}, "east": {"breast": 3, "eye": 0}}


def test_a_study_comes_back_from_plain_json(study: StudyConfig) -> None:
    assert study_from_json(json.loads(json.dumps(study_to_json(study)))) == study


def test_the_plan_holds_the_allocation_and_every_section(study: StudyConfig) -> None:
    plan, model = make_plan(study, COUNTS)
    shares = organ_aware(COUNTS, tau=0.5, min_patients=1)
    assert (plan.weights, plan.draws, plan.mix, plan.totals) == (
        shares.weights,
        shares.draws,
        shares.mix,
        shares.totals,
    )
    assert plan.counts == COUNTS
    assert plan.unused == {"eye": 0}
    assert plan.tensors == spec_of(model)
    sections = study_to_json(study)
    for name in ("encoder", "objective", "augmentation", "training"):
        assert getattr(plan, name) == sections[name]
    assert plan_from(plan.document) == plan


def test_the_same_study_and_counts_give_the_same_plan_and_model(study: StudyConfig) -> None:
    one, other = (
        make_plan(study, COUNTS),
        make_plan(study, {s: dict(reversed(h.items())) for s, h in reversed(COUNTS.items())}),
    )
    assert one[0].digest == other[0].digest
    assert digest_of(one[1]) == digest_of(other[1])


def test_another_seed_or_count_is_another_plan(study: StudyConfig) -> None:
    plan, model = make_plan(study, COUNTS)
    seeded = make_plan(replace(study, seed=8), COUNTS)
    assert plan.digest != seeded[0].digest
    assert digest_of(model) != digest_of(seeded[1])
    assert plan.digest != make_plan(study, {**COUNTS, "east": {"breast": 4}})[0].digest


def test_the_weighting_words(study: StudyConfig) -> None:
    plan = make_plan(replace(study, weighting="fedavg"), COUNTS)[0]
    assert plan.weights == fedavg(COUNTS, min_patients=1).weights
    with pytest.raises(ConfigError, match="weighting must be organ_aware or fedavg, got 'uniform'"):
        replace(study, weighting="uniform")


def test_the_bound_is_that_of_the_optimizer_unless_it_is_given(study: StudyConfig, with_federation: Callable) -> None:
    plan, model = make_plan(study, COUNTS)
    parameters = sum(value.size for value in model.values())
    assert plan.norm_bound == update_bound(study.training, steps=2, parameters=parameters)
    assert make_plan(with_federation(norm_bound=0.25), COUNTS)[0].norm_bound == 0.25


def test_a_cap_that_cannot_hold_and_too_few_sites_are_plan_errors(with_federation: Callable) -> None:
    with pytest.raises(PlanError, match=r"weight_cap 0\.4 cannot hold with 2 hospitals; use at least 0\.5"):
        make_plan(with_federation(weight_cap=0.4), COUNTS)
    with pytest.raises(PlanError, match="min_sites 3 must lie between 1 and the 2 sites"):
        make_plan(with_federation(min_sites=3), COUNTS)
    with pytest.raises(PlanError, match="no organ is held by 20 patients"):
        make_plan(with_federation(min_patients=20), COUNTS)


def test_every_word_that_is_no_organ_is_named_with_its_site(study: StudyConfig) -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(study, {"east": {"brest": 3, "unknown": 2}, "north": {"../etc": 1}})
    assert [problem.split(",")[0] for problem in caught.value.problems] == [
        "site east counts patients with 'brest'",
        "site east counts patients with 'unknown'",
        "site north counts patients with '../etc'",
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rounds", 0),
        ("local_steps", 0),
        ("min_patients", 0),
        ("min_sites", 0),
        ("tau", -0.1),
        ("tau", math.nan),
        ("weight_cap", 0.0),
        ("weight_cap", 1.1),
        ("norm_bound", -1.0),
        ("timeout", 0.0),
        ("timeout", math.nan),
        ("codec", "zip"),
        ("local_state", "lost"),
    ],
)
def test_a_field_out_of_range_is_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"federation.{field}"):
        FederationConfig(**{field: value})


def test_problems_of_all_sections_of_a_study_come_at_once(study: StudyConfig) -> None:
    values = study_to_json(study)
    values["federation"] |= {"rounds": 0, "codec": "zip"}
    values["federation"]["server"]["rate"] = -1
    values["training"]["batch"] = 0
    values["encoder"]["patch"] = 5
    with pytest.raises(ConfigError) as caught:
        study_from_json(values)
    assert len(caught.value.problems) == 5
