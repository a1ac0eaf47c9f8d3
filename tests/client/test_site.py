"""A hospital's policy: what it discloses, what it approves, what it refuses to run."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.site import Site, site_from
from core.errors import ConfigError, DataError, PlanError
from core.federation.plan import Plan, plan_from
from core.federation.task_section import task_to_json
from core.training.task import Task
from server.task_study import TaskPlan

Hospital = Callable[..., Site]


def forged(plan: Plan, **values: Any) -> str:
    """The plan's document with other values."""
    return json.dumps({**asdict(plan), **values})


def allow(site: Site, *digests: str) -> None:
    site.folder.mkdir(parents=True, exist_ok=True)
    (site.folder / "approved.json").write_text(json.dumps(digests))


def test_patients_are_counted_once_whatever_their_frames(hospital: Hospital) -> None:
    site = hospital("east")
    assert len(site.manifest.records) == 9
    assert site.counts() == {"breast": 3, "kidney": 1, "liver": 2}


def test_a_simulated_site_approves_and_keeps_the_plan(hospital: Hospital, plan: Plan) -> None:
    site = hospital("east")
    assert site.consider(plan.document) == (True, "")
    assert site.approved_plan(plan.digest) == plan


def test_listed_is_the_default_and_refuses_a_digest_that_nobody_approved(
    hospital: Hospital, node: Callable[..., dict[str, Any]], plan: Plan
) -> None:
    config = node("east")
    del config["approval"]
    site = site_from(config)
    approved, reason = site.consider(plan.document)
    assert not approved
    assert reason == f"plan {plan.digest[:12]} is not on the allow-list of site east; a person must approve it"
    with pytest.raises(PlanError, match="site east has approved no plan yet"):
        site.approved_plan(plan.digest)


def test_a_listed_digest_is_approved_and_no_other(hospital: Hospital, plan: Plan) -> None:
    site = hospital("east", approval="listed")
    other = plan_from(forged(plan, rounds=4))
    allow(site, other.digest)
    assert not site.consider(plan.document)[0]
    allow(site, other.digest, plan.digest)
    assert site.consider(plan.document) == (True, "")
    with pytest.raises(PlanError, match="differs from the approved"):
        site.approved_plan(other.digest)


def test_the_beginning_of_a_digest_is_no_approval(hospital: Hospital, plan: Plan) -> None:
    site = hospital("east", approval="listed")
    allow(site, plan.digest[:12], plan.digest.upper(), "", "*")
    assert not site.consider(plan.document)[0]


def test_an_approval_that_is_withdrawn_stops_the_plan(hospital: Hospital, plan: Plan) -> None:
    site = hospital("east", approval="listed")
    allow(site, plan.digest)
    assert site.consider(plan.document)[0]
    allow(site)
    with pytest.raises(PlanError, match="not on the allow-list"):
        site.approved_plan(plan.digest)


@pytest.mark.parametrize("text", ["", "{", '"abc"', "3", "null", '{"%s": false}', "[1]", '[["%s"]]'])
def test_an_allow_list_that_is_none_stops_everything(hospital: Hospital, plan: Plan, text: str) -> None:
    site = hospital("east", approval="listed")
    allow(site)
    (site.folder / "approved.json").write_text(text.replace("%s", plan.digest))
    with pytest.raises(ConfigError, match=r"approved\.json: not"):
        site.consider(plan.document)


def test_tampered_weights_are_another_digest_and_so_refused(hospital: Hospital, plan: Plan) -> None:
    site = hospital("east", approval="listed")
    allow(site, plan.digest)
    assert site.consider(plan.document)[0]
    assert not site.consider(forged(plan, weights={"east": 0.1, "north": 0.9}))[0]
    assert site.approved_plan(plan.digest).weights == plan.weights


def test_a_plan_file_that_was_changed_on_disk_is_not_run(hospital: Hospital, plan: Plan) -> None:
    site = hospital("east")
    site.consider(plan.document)
    (site.folder / "plan.json").write_text(forged(plan, norm_bound=1e9))
    with pytest.raises(PlanError, match=f"asked to run plan {plan.digest[:12]}, which differs from the approved"):
        site.approved_plan(plan.digest)
    (site.folder / "plan.json").write_text("{")
    with pytest.raises(PlanError, match="not a plan"):
        site.approved_plan(plan.digest)


def test_counts_that_the_site_did_not_disclose_are_refused(hospital: Hospital, plan: Plan) -> None:
    counts = {**plan.counts, "east": {**plan.counts["east"], "breast": 300}}
    approved, reason = hospital("east").consider(forged(plan, counts=counts))
    assert (approved, reason) == (False, "site east: the plan's counts are not those this site disclosed")


def test_a_plan_without_the_site_is_refused(hospital: Hospital, plan: Plan) -> None:
    def renamed(values: dict[str, Any]) -> dict[str, Any]:
        return {"west" if site == "east" else site: value for site, value in values.items()}

    document = forged(plan, **{name: renamed(getattr(plan, name)) for name in ("counts", "weights", "draws")})
    assert hospital("east").consider(document) == (False, "site east is not in the plan")


def test_no_plan_is_an_error(hospital: Hospital) -> None:
    with pytest.raises(PlanError):
        hospital("east").consider("{}")


def test_the_source_draws_as_the_plan_says(hospital: Hospital, plan: Plan) -> None:
    site = hospital("north")
    source = site.source(plan)
    chances = source.sampler.image_probabilities()
    drawn = dict.fromkeys(plan.draws["north"], 0.0)
    for record, chance in zip(site.manifest.records, chances, strict=True):
        drawn[record.organ] += chance
    assert drawn == pytest.approx(plan.draws["north"])
    assert (source.stream, source.seed, source.side) == ("north", plan.seed, 16)
    np.testing.assert_array_equal(source.rows_N, np.arange(len(site.manifest.records)))


def test_a_plan_that_draws_what_the_site_does_not_hold_cannot_run(hospital: Hospital, plan: Plan) -> None:
    with pytest.raises(DataError, match="'thyroid': has no patient here"):
        hospital("east").source(replace(plan, draws={**plan.draws, "east": {"thyroid": 1.0}}))


def test_what_is_missing_or_odd_in_a_node_configuration_comes_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        site_from({"site": "h", "side": "wide", "approval": "automatik", "skip": "1,two"})
    assert list(caught.value.problems) == [
        "node configuration lacks 'manifest'",
        "node configuration lacks 'folder'",
        "node configuration lacks 'cache'",
        "node configuration: approval must be automatic or listed, got 'automatik'",
        "node configuration: side must be a whole number of pixels, got 'wide'",
        "node configuration: skip must be rounds with commas between, got '1,two'",
    ]


@pytest.mark.parametrize(("text", "rounds"), [("", set()), ("3", {3}), ("3,10", {3, 10}), ("3,,", {3})])
def test_rounds_to_sit_out(hospital: Hospital, text: str, rounds: set[int]) -> None:
    assert hospital("east", skip=text).skip == rounds


def test_a_hospital_opens_nothing_before_it_is_asked(tmp_path: Path) -> None:
    values = {
        "site": "h",
        "manifest": "/nowhere.csv",
        "folder": str(tmp_path / "f"),
        "cache": str(tmp_path / "c"),
        "side": 20,
    }
    site = site_from(values)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="nowhere"):
        site.counts()


def test_patients_with_a_label_of_a_task_are_counted(task_node: Callable[..., dict[str, Any]]) -> None:
    task = Task(name="lesion", dataset="tiny")
    assert site_from(task_node("east")).labelled_counts(task) == {"lesion": 3}
    assert site_from(task_node("west")).labelled_counts(task) == {"lesion": 0}
    assert site_from(task_node("east")).labelled_counts(replace(task, dataset="other")) == {"lesion": 0}


def test_a_plan_of_fine_tuning_needs_its_encoder_and_its_counts(
    task_node: Callable[..., dict[str, Any]], task_planned: TaskPlan
) -> None:
    plan, _, start = task_planned
    site = site_from(task_node("east"))
    assert not site.consider(plan.document)[0]
    approved, reason = site.consider(plan.document, start={**start, "extra": np.zeros(1, np.float32)})
    assert (approved, reason) == (
        False, "site east: the encoder to start from is refused: 1 tensors are not in the plan, first extra"
    )  # fmt: skip
    assert site.consider(plan.document, start=start) == (True, "")
    assert set(site.start(plan)) == set(start)
    counts = {**plan.counts, "east": {"lesion": 30}}
    assert site.consider(forged(plan, counts=counts), start=start) == (
        False, "site east: the plan's counts are not those this site disclosed"
    )  # fmt: skip
    assert site_from(task_node("west")).consider(plan.document, start=start) == (False, "site west is not in the plan")


def test_a_listed_digest_covers_a_plan_of_fine_tuning(
    task_node: Callable[..., dict[str, Any]], task_planned: TaskPlan
) -> None:
    plan, _, start = task_planned
    site = site_from(task_node("east", approval="listed"))
    assert "a person must approve it" in site.consider(plan.document, start=start)[1]
    guess = forged(plan, counts={**plan.counts, "east": {"lesion": 30}})
    assert "a person must approve it" in site.consider(guess, start=start)[1]  # a wrong guess is told from no right one
    assert not (site.folder / "start.safetensors").exists()
    allow(site, plan.digest)
    assert site.consider(plan.document, start=start) == (True, "")


def test_no_label_is_counted_for_a_consortium_before_a_person_allowed_it(
    task_node: Callable[..., dict[str, Any]],
) -> None:
    task = Task(name="lesion", dataset="tiny")
    assert site_from(task_node("east")).disclosed(task) == {"lesion": 3}  # a simulation approves what it is asked
    site = site_from(task_node("east", approval="listed"))
    with pytest.raises(PlanError, match="is not on the allow-list of site east; a person must allow it") as refused:
        site.disclosed(task)
    allow(site, hashlib.sha256(task_to_json(task).encode()).hexdigest())
    assert site.disclosed(task) == {"lesion": 3}
    with pytest.raises(PlanError):
        site.disclosed(replace(task, kind="classification", classes=["benign", "malignant"]))
    assert hashlib.sha256(task_to_json(task).encode()).hexdigest() in str(refused.value)
