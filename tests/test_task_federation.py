"""Federated fine-tuning through the real apps: one hospital is its own loop, a site without labels sits out, kills."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, RecordDict

from client.app import client_app
from client.site import site_from
from client.trainer import OnStep
from core.errors import FederationPaused, PlanError
from core.federation import wire
from core.federation.plan import Plan, plan_from
from core.federation.task_section import planned_model, section_of
from core.federation.tensors import Tensors, digest_of, state_of
from core.training.finetune import FineTuning
from core.training.labelled_source import LabelledSource
from server.app import server_app
from server.rounds import Observer
from server.state import ServerState, Store
from server.task_study import TaskStudyConfig, make_task_plan, task_study_to_json
from simulations.grid import InProcessGrid, serve

Node = Callable[..., dict[str, Any]]


class Killed(BaseException):
    """What a kill looks like from inside: nobody catches it."""


@dataclass(frozen=True)
class Done:
    """What a federation left."""

    plan: Plan
    state: ServerState
    receipts: list[dict[str, Any]]
    lines: bytes


class KillAt:
    """An observer that kills at a phase of a round."""

    def __init__(self, name: str, number: int) -> None:
        self._at = (name, number)

    def phase(self, name: str, number: int) -> None:
        if (name, number) == self._at:
            raise Killed

    def closed(self, state: object) -> None:
        """Goes on."""


def kill_at_step(site: str, step: int) -> OnStep:
    def on_step(at: str, number: int, loss: float, images: int) -> None:
        if (at, number) == (site, step):
            raise Killed

    return on_step


@pytest.fixture
def federate(task_node: Node, tmp_path: Path) -> Callable[..., Done]:
    """(study, sites, place) -> one federation, from the saved state if there is one."""

    def run(
        study: TaskStudyConfig,
        sites: Iterable[str] = ("east", "north", "west"),
        *,
        place: str = "whole",
        observer: Observer | None = None,
        on_step: OnStep | None = None,
        grid: Callable[..., InProcessGrid] = InProcessGrid,
    ) -> Done:
        nodes = [task_node(site, folder=str(tmp_path / place / site)) for site in sites]
        store = Store(tmp_path / place / "server")
        config = {"study": json.dumps(task_study_to_json(study)), "folder": str(store.folder)}
        with grid(client_app(on_step=on_step), nodes) as made:
            serve(server_app(observer=observer), made, run_config=config)
        plan = plan_from((store.folder / "plan.json").read_text())
        state = store.load(plan_digest=plan.digest)
        assert state is not None
        return Done(plan=plan, state=state, receipts=store.receipts(), lines=store.receipts_path.read_bytes())

    return run


@pytest.mark.parametrize("encoder", ["frozen", "last_blocks", "all"])
def test_one_hospital_is_its_own_loop_bit_for_bit(
    federate: Callable[..., Done], tuned: Callable[..., TaskStudyConfig], task_node: Node, encoder: str
) -> None:
    study = tuned(encoder=encoder)
    found = federate(study, ["east"])
    plan, _, start = make_task_plan(study, {"east": {"lesion": 3}})
    assert found.plan.digest == plan.digest
    task = section_of(plan).task
    loop = FineTuning(planned_model(plan, start), config=task.tuning, total_steps=6, seed=7)
    labelled = site_from(task_node("east")).labelled(task)
    loop.run(
        LabelledSource(labelled=labelled, task=task, side=16, seed=7, stream="east"), first=0, steps=3 * 2
    )  # rounds x local steps
    state = state_of(loop.model)
    assert found.state.digest == digest_of({name: state[name] for name in plan.tensors})
    still = {name: value for name, value in state.items() if name not in plan.tensors}
    assert digest_of(still) == digest_of(
        {f"encoder.{n}": v for n, v in start.items() if f"encoder.{n}" not in plan.tensors}
    )


def test_the_federation_of_the_first_round_is_the_weighted_mean(
    federate: Callable[..., Done], task_study: TaskStudyConfig
) -> None:
    one_round = replace(task_study, federation=replace(task_study.federation, rounds=1))
    both = federate(one_round, place="both").state.model
    apart = {site: federate(one_round, [site], place=site).state.model for site in ("east", "north")}
    for name, value in both.items():
        expected = (3 * apart["east"][name].astype(np.float64) + 1 * apart["north"][name].astype(np.float64)) / 4
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-6)


def test_a_site_without_labels_sits_out_and_is_named(
    federate: Callable[..., Done], task_study: TaskStudyConfig, tmp_path: Path
) -> None:
    found = federate(task_study)
    assert found.plan.weights == {"east": 3 / 4, "north": 1 / 4}
    for receipt in found.receipts:
        assert sorted(receipt["contributors"]) == ["east", "north"]
        assert receipt["without_label"] == {"west": "holds no label of task lesion"}
        assert receipt["absent"] == receipt["refused"] == {}
    assert not (tmp_path / "whole" / "west" / "plan.json").exists()


@pytest.mark.parametrize("encoder", ["frozen", "all"])
def test_bytes_are_those_of_what_travels(
    federate: Callable[..., Done], tuned: Callable[..., TaskStudyConfig], encoder: str
) -> None:
    found = federate(tuned(encoder=encoder))
    _, model, start = make_task_plan(tuned(encoder=encoder), {"east": {"lesion": 3}, "north": {"lesion": 1}})
    each, once = (sum(value.nbytes for value in own.values()) for own in (model, start))
    assert found.state.bytes_up == 3 * 2 * each  # rounds x sites
    assert found.state.bytes_down == 3 * 2 * each + 2 * once


@pytest.mark.parametrize("codec", ["exact", "int8"])
def test_killed_and_resumed_is_as_good_as_not_killed(
    federate: Callable[..., Done], task_study: TaskStudyConfig, codec: str
) -> None:
    study = replace(task_study, federation=replace(task_study.federation, codec=codec))
    whole = federate(study)
    for observer in (KillAt("asked", 1), KillAt("folded", 1), KillAt("stepped", 1), KillAt("saved", 1)):
        with pytest.raises(Killed):
            federate(study, place="killed", observer=observer)
    with pytest.raises(Killed):
        federate(study, place="killed", on_step=kill_at_step("north", 4))
    resumed = federate(study, place="killed")
    assert resumed.state.digest == whole.state.digest
    assert resumed.lines == whole.lines


class Forger(InProcessGrid):
    """A server's messages are changed on their way."""

    def _take(self, identifier: str, message: Message) -> None:
        super()._take(identifier, forge(message))


def forge(message: Message) -> Message:
    """Another encoder than the plan's comes with the plan."""
    if message.metadata.message_type == wire.PLAN:
        start = wire.start_from_records(message.content)
        name = min(start)
        message.content = wire.plan_to_records(
            wire.plan_from_records(message.content), start={**start, name: start[name] + np.float32(1)}
        )
    return message


def test_an_encoder_that_is_not_the_plans_is_not_approved(
    federate: Callable[..., Done], task_study: TaskStudyConfig
) -> None:
    with pytest.raises(PlanError, match=r"site east: .* the encoder to start from is refused: its digest is"):
        federate(task_study, grid=Forger)


class Poisoner(InProcessGrid):
    """Each instruction's model holds NaN."""

    def _take(self, identifier: str, message: Message) -> None:
        if message.metadata.message_type == wire.TRAIN:
            asked = wire.instruction_from_records(message.content)
            bad: Tensors = {name: np.full_like(value, np.nan) for name, value in asked.base.items()}
            message.content = wire.instruction_to_records(replace(asked, base=bad))
        super()._take(identifier, message)


def test_a_poisoned_model_is_trained_by_nobody(federate: Callable[..., Done], task_study: TaskStudyConfig) -> None:
    with pytest.raises(FederationPaused, match="the model from the server is refused"):
        federate(task_study, grid=Poisoner)


def test_a_task_that_nobody_has_labels_of_is_no_study(
    federate: Callable[..., Done], task_study: TaskStudyConfig
) -> None:
    study = replace(task_study, task=replace(task_study.task, dataset="elsewhere"))
    with pytest.raises(PlanError, match="0 patients of all sites have a label of task lesion"):
        federate(study)


def test_a_question_that_is_no_task_is_answered_with_an_error(task_node: Node) -> None:
    grid = InProcessGrid(client_app(), [task_node("east")])
    question = Message(RecordDict(), dst_node_id=1, message_type=wire.LABELS, group_id="x")
    question.content = wire.task_to_records('{"kind": "magic"}')
    (reply,) = grid.send_and_receive([question])
    assert reply.has_error()
    assert "kind must be one of" in reply.error.reason
