"""The round loop over two real hospitals: resumable at every phase, and honest about who took part."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.trainer import Trainer
from core.errors import FederationPaused, UpdateRejected
from core.federation.organs import effective_mix
from core.federation.plan import Plan
from core.federation.tensors import Tensors, digest_of
from core.federation.update import Folded, Instruction, Skipped, Update
from server.admission import Answer, Entry, Outcome
from server.rounds import cohort, judge, reinstate, run_study
from server.state import ServerState, Store

ENTRY = Entry(digest="d", norm=1.0, metrics={}, bytes=4)


class Killed(BaseException):
    """What a kill looks like from inside."""


class Watcher:
    """Notes the phases; is killed at one of them."""

    def __init__(self, *, kill_at: tuple[str, int] | None = None) -> None:
        self.kill_at = kill_at
        self.phases: list[tuple[str, int]] = []
        self.closed_rounds: list[int] = []

    def phase(self, name: str, number: int) -> None:
        self.phases.append((name, number))
        if (name, number) == self.kill_at:
            raise Killed

    def closed(self, state: ServerState) -> None:
        self.closed_rounds.append(state.round)


class Consortium:
    """Real hospitals that answer directly, and the server's folder."""

    def __init__(self, trainers: Mapping[str, Trainer], plan: Plan, model: Tensors, folder: Path) -> None:
        self.trainers, self.plan, self.model = dict(trainers), plan, model
        self.store = Store(folder)
        self.asked: list[dict[str, Instruction]] = []

    def ask(self, instructions: Mapping[str, Instruction]) -> Iterator[tuple[str, Answer]]:
        self.asked.append(dict(instructions))
        for site, instruction in instructions.items():
            yield site, self.trainers[site].round(instruction)

    def run(
        self, *, watcher: Watcher | None = None, ask: Callable[..., Iterable[tuple[str, Answer]]] | None = None
    ) -> ServerState:
        """From the saved state if there is one, with hospitals that were started again."""
        self.trainers = {name: Trainer(site=trainer.site) for name, trainer in self.trainers.items()}
        state = self.store.load(plan_digest=self.plan.digest) or ServerState(round=0, model=self.model)
        return run_study(state, plan=self.plan, ask=ask or self.ask, store=self.store, observer=watcher or Watcher())


@pytest.fixture
def consortium(
    trainer: Callable[..., Trainer], plan: Plan, model: Tensors, tmp_path: Path
) -> Callable[..., Consortium]:
    """(name, plan=...) -> both hospitals with fresh folders of that name."""

    def make(name: str, *, plan: Plan = plan, skip: str = "") -> Consortium:
        trainers = {
            site: trainer(site, plan=plan, folder=str(tmp_path / name / site), skip=skip if site == "east" else "")
            for site in ("east", "north")
        }
        return Consortium(trainers, plan, model, tmp_path / name / "server")

    return make


def test_a_study_runs_its_rounds_and_writes_a_receipt_each(consortium, plan: Plan, model: Tensors) -> None:
    study, watcher = consortium("c"), Watcher()
    state = study.run(watcher=watcher)
    assert state.round == 3
    assert state.digest != digest_of(model)
    assert watcher.closed_rounds == [1, 2, 3]
    names = ("asked", "folded", "stepped", "saved")
    assert watcher.phases == [(name, number) for number in range(3) for name in names]
    receipts = study.store.receipts()
    assert [receipt["round"] for receipt in receipts] == [0, 1, 2]
    assert receipts[-1]["model_hash"] == state.digest
    assert {receipt["plan"] for receipt in receipts} == {plan.digest}
    for receipt in receipts:
        assert list(receipt["contributors"]) == ["east", "north"]
        assert {site: entry["weight"] for site, entry in receipt["contributors"].items()} == plan.weights
        assert receipt["effective_mix"] == pytest.approx(plan.mix)
        assert (receipt["refused"], receipt["absent"], receipt["ignored"]) == ({}, {}, [])
    size = sum(value.nbytes for value in model.values())
    assert (state.bytes_down, state.bytes_up) == (3 * 2 * size, 3 * 2 * size)
    found = study.store.load(plan_digest=plan.digest)
    assert found is not None
    assert found.digest == state.digest


def test_a_round_moves_the_model_by_the_weighted_mean_of_what_was_sent(consortium, plan: Plan, model: Tensors) -> None:
    study = consortium("c", plan=replace(plan, rounds=1))
    state = study.run()
    sent = {site: update for site, update in study.ask(study.asked[0]) if isinstance(update, Update)}
    for name, value in model.items():
        mean = sum(
            plan.weights[site] * (update.arrays[name].astype(np.float64) - value) for site, update in sent.items()
        )
        np.testing.assert_allclose(state.model[name], value + mean, atol=1e-7)


def test_every_site_gets_the_model_the_last_receipt_and_what_of_its_own_was_folded(consortium, plan: Plan) -> None:
    study = consortium("c")
    study.run()
    lines = study.store.receipts_path.read_text().splitlines()
    assert [{i.receipt for i in asked.values()} for asked in study.asked] == [{""}, {lines[0]}, {lines[1]}]
    for number, asked in enumerate(study.asked):
        for site, instruction in asked.items():
            assert instruction.round == number
            if number == 0:
                assert instruction.folded is None
            else:
                before = json.loads(lines[number - 1])
                assert digest_of(instruction.base) == before["model_hash"]
                assert instruction.folded == Folded(round=number - 1, digest=before["contributors"][site]["digest"])


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("phase", ["asked", "folded", "stepped", "saved"])
def test_a_kill_at_any_phase_and_a_resume_end_with_the_same_hash(consortium, phase: str, number: int) -> None:
    whole, cut = consortium("whole"), consortium("cut")
    expected = whole.run()
    with pytest.raises(Killed):
        cut.run(watcher=Watcher(kill_at=(phase, number)))
    state = cut.run()
    assert state.digest == expected.digest
    assert cut.store.receipts_path.read_bytes() == whole.store.receipts_path.read_bytes()


def test_a_kill_while_replies_come_and_a_resume_end_with_the_same_hash(consortium) -> None:
    whole, cut = consortium("whole"), consortium("cut")
    expected = whole.run()

    def dying(instructions: Mapping[str, Instruction]) -> Iterator[tuple[str, Answer]]:
        for number, answer in enumerate(cut.ask(instructions)):
            if (instructions["east"].round, number) == (1, 1):
                raise Killed
            yield answer

    with pytest.raises(Killed):
        cut.run(ask=dying)
    assert cut.run().digest == expected.digest


def test_a_finished_study_asks_nobody_again(consortium) -> None:
    study = consortium("c")
    first = study.run()
    study.asked.clear()
    assert study.run().digest == first.digest
    assert study.asked == []


def test_a_site_that_sits_out_leaves_its_weight_to_the_others(consortium, plan: Plan) -> None:
    study = consortium("c", skip="1")
    study.run()
    receipt = study.store.receipts()[1]
    assert list(receipt["contributors"]) == ["north"]
    assert receipt["absent"] == {"east": "the site sits this round out"}
    assert receipt["effective_mix"] == pytest.approx(effective_mix(plan.weights, plan.draws, ["north"]))
    assert receipt["effective_mix"] == pytest.approx(plan.draws["north"])
    # In round 2 the site still commits the update of round 0.
    assert study.asked[2]["east"].folded.round == 0


@pytest.mark.parametrize("codec", ["exact", "bf16", "int8"])
@pytest.mark.parametrize("server", ["fedavg", "fedadam"])
def test_a_kill_changes_nothing_under_any_codec_and_server_optimizer(
    consortium, plan: Plan, codec: str, server: str
) -> None:
    other = replace(plan, codec=codec, server={**plan.server, "name": server, "rate": 0.01})
    whole, cut = consortium("whole", plan=other), consortium("cut", plan=other)
    expected = whole.run()
    with pytest.raises(Killed):
        cut.run(watcher=Watcher(kill_at=("stepped", 1)))
    state = cut.run()
    assert state.digest == expected.digest
    assert digest_of(state.moments) == digest_of(expected.moments)
    assert (len(state.moments) == 0) == (server == "fedavg")


def test_too_few_updates_pause_the_study_with_every_reason_and_the_state_before(consortium, plan: Plan) -> None:
    study = consortium("c", plan=replace(plan, min_sites=2), skip="1")
    with pytest.raises(FederationPaused) as caught:
        study.run()
    text = str(caught.value)
    assert "round 1 has 1 of at least 2 updates and stays open" in text
    assert str(study.store.state_path) in text
    assert "east: the site sits this round out" in text
    state = study.store.load(plan_digest=study.plan.digest)
    assert state is not None
    assert state.round == 1
    assert len(study.store.receipts()) == 1


def test_a_paused_study_goes_on_to_the_same_hash(consortium, plan: Plan) -> None:
    both = replace(plan, min_sites=2)
    whole, cut = consortium("whole", plan=both), consortium("cut", plan=both)
    expected = whole.run()

    def silent(instructions: Mapping[str, Instruction]) -> Iterator[tuple[str, Answer]]:
        for site, answer in cut.ask(instructions):
            if (site, instructions[site].round) != ("north", 1):
                yield site, answer

    with pytest.raises(FederationPaused, match="north: no reply in time"):
        cut.run(ask=silent)
    assert cut.run().digest == expected.digest


def test_two_refusals_running_quarantine_and_anything_else_does_not() -> None:
    state = ServerState(round=0, model={})
    refused = Outcome(refused={"a": "NaN"}, admitted={"b": ENTRY})
    absent = Outcome(absent={"a": "no reply in time"}, admitted={"b": ENTRY})
    admitted = Outcome(admitted={"a": ENTRY, "b": ENTRY})
    assert judge(judge(state, refused), admitted).refusals == {}
    assert judge(judge(judge(state, refused), admitted), refused).quarantined == {}
    assert judge(judge(state, refused), absent).refusals == {"a": 1}
    twice = judge(judge(judge(state, refused), absent), refused)
    assert twice.quarantined == {"a": "refused 2 times running, last: NaN"}
    assert state == ServerState(round=0, model={})


def test_a_person_lifts_a_quarantine_for_the_sites_named(plan: Plan) -> None:
    state = ServerState(
        round=2, model={}, refusals={"east": 2, "north": 1}, quarantined={"east": "refused", "west": "refused"}
    )
    assert cohort(state, plan) == ["north"]
    lifted = reinstate(state, ["east", "nobody"])
    assert cohort(lifted, plan) == ["east", "north"]
    assert (lifted.refusals, lifted.quarantined) == ({"north": 1}, {"west": "refused"})


def test_refusals_of_a_paused_round_are_remembered(consortium, plan: Plan) -> None:
    study = consortium("c", plan=replace(plan, min_sites=2))

    def refusing(instructions: Mapping[str, Instruction]) -> Iterator[tuple[str, Answer]]:
        for site, answer in study.ask(instructions):
            yield site, UpdateRejected("unreadable") if site == "north" else answer

    with pytest.raises(FederationPaused, match="north: unreadable"):
        study.run(ask=refusing)
    with pytest.raises(FederationPaused, match="north: quarantined"):
        study.run(ask=refusing)
    with pytest.raises(FederationPaused, match="round 0 has 1 of at least 2"):
        study.run()
    assert list(study.asked[-1]) == ["east"]


def test_a_client_that_fails_every_round_is_absent_from_all(consortium) -> None:
    study = consortium("c")

    def failing(instructions: Mapping[str, Instruction]) -> Iterator[tuple[str, Answer]]:
        for site, answer in study.ask(instructions):
            failed = Skipped(site=site, round=instructions[site].round, reason="the client failed: disk")
            yield site, failed if site == "east" else answer

    state = study.run(ask=failing)
    assert state.round == 3
    assert all(receipt["absent"] == {"east": "the client failed: disk"} for receipt in study.store.receipts())
