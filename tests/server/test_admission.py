"""Which replies count: one reply a site, of this round, this plan, this model, whole and within the bound."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.errors import UpdateRejected
from core.federation.codec import codec_for
from core.federation.plan import Plan
from core.federation.tensors import Tensors, digest_of
from core.federation.update import Skipped, Update
from server.admission import LONGEST, Answer, Outcome, admit_all
from server.spool import Spool

NUMBER = 1


@pytest.fixture
def honest(plan: Plan, model: Tensors) -> Callable[..., Update]:
    """(site, field=value, ...) -> a good update of round 1: every parameter a thousandth further."""

    def make(site: str, **changes: Any) -> Update:
        arrays = {name: value + np.float32(1e-3) for name, value in model.items()}
        values = {"site": site, "plan_digest": plan.digest, "round": NUMBER, "base_digest": digest_of(model),
                  "arrays": arrays, "metrics": {"loss": 0.5}}  # fmt: skip
        return Update(**{**values, **changes})

    return make


@pytest.fixture
def admit(plan: Plan, model: Tensors) -> Callable[..., tuple[Outcome, list[str]]]:
    """(answers, plan=...) -> the outcome and who is in the spool."""

    def run(answers: list[tuple[str, Answer]], *, plan: Plan = plan) -> tuple[Outcome, list[str]]:
        with Spool() as spool:
            outcome = admit_all(
                iter(answers), asked=["east", "north"], plan=plan, number=NUMBER, base=model, spool=spool
            )
            return outcome, spool.sites

    return run


def changed(update: Update, change: Callable[[np.ndarray], np.ndarray]) -> Update:
    """The update with another first tensor."""
    name = min(update.arrays)
    return replace(update, arrays={**update.arrays, name: change(update.arrays[name])})


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        copy = array.copy()
        copy.flat[0] = value
        return copy

    return change


def test_good_updates_are_spooled_with_digest_norm_and_size(honest, admit, model: Tensors) -> None:
    outcome, spooled = admit([("north", honest("north")), ("east", honest("east"))])
    assert spooled == ["east", "north"]
    assert (outcome.refused, outcome.absent, outcome.ignored) == ({}, {}, [])
    parameters = sum(value.size for value in model.values())
    entry = outcome.admitted["east"]
    assert entry.digest == digest_of(honest("east").arrays)
    assert entry.norm == pytest.approx(1e-3 * math.sqrt(parameters), rel=1e-3)
    assert (entry.bytes, entry.metrics) == (4 * parameters, {"loss": 0.5})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda u: changed(u, with_value(np.nan)), "holds NaN or infinity"),
        (lambda u: changed(u, with_value(np.inf)), "holds NaN or infinity"),
        (lambda u: changed(u, with_value(1e9)), "exceeds"),
        (lambda u: changed(u, lambda a: a[..., None]), "has shape"),
        (lambda u: changed(u, lambda a: a.astype(np.float64)), "is float64"),
        (lambda u: changed(u, lambda a: a.view(np.uint32)), "is uint32"),
        (lambda u: replace(u, arrays={}), "tensors are missing"),
        (lambda u: replace(u, arrays={**u.arrays, "encoder.x/exp_avg": np.zeros(1, np.float32)}), "not in the plan"),
        (lambda u: replace(u, site="north"), "the reply says it is of site 'north'"),
        (lambda u: replace(u, round=2), "the reply is for round 2"),
        (lambda u: replace(u, plan_digest="f" * 64), "trained under plan ffffffffffff"),
        (lambda u: replace(u, base_digest="f" * 64), "trained from model ffffffffffff"),
        (lambda u: replace(u, metrics={"loss": math.nan}), "metric 'loss' is not finite"),
        (lambda u: replace(u, metrics={"auc": 0.5}), "metric 'auc' is not on the allow-list"),
    ],
)
def test_a_bad_update_is_refused_and_the_other_site_counts(honest, admit, change: Callable, reason: str) -> None:
    outcome, spooled = admit([("east", change(honest("east"))), ("north", honest("north"))])
    assert spooled == list(outcome.admitted) == ["north"]
    assert list(outcome.refused) == ["east"]
    assert outcome.refused["east"].startswith("site east, round 1: ")
    assert reason in outcome.refused["east"]
    assert outcome.absent == {}


@pytest.mark.parametrize("bits", [0x7FC0, 0x7F81, 0x7F80, 0xFFC0])
def test_nan_and_infinity_hidden_in_sixteen_bits_are_refused(
    honest, admit, plan: Plan, model: Tensors, bits: int
) -> None:
    codec = codec_for("bf16")
    other = replace(plan, codec="bf16")
    arrays = {name: codec.encode(value, value) for name, value in model.items()}
    good = honest("north", arrays=arrays, plan_digest=other.digest)
    bad = changed(honest("east", arrays=arrays, plan_digest=other.digest), with_value(bits))
    outcome, spooled = admit([("east", bad), ("north", good)], plan=other)
    assert spooled == ["north"]
    assert "holds NaN or infinity" in outcome.refused["east"]


def test_float32_under_a_sixteen_bit_plan_is_refused(honest, admit, plan: Plan) -> None:
    other = replace(plan, codec="bf16")
    outcome, _ = admit([("east", honest("east", plan_digest=other.digest))], plan=other)
    assert "is float32, the plan's codec sends uint16" in outcome.refused["east"]


def test_the_norm_may_be_the_bound_and_no_more(honest, admit, plan: Plan) -> None:
    norm = admit([("east", honest("east"))])[0].admitted["east"].norm
    for bound, admitted in ((norm, True), (math.nextafter(norm, 0), False)):
        tight = replace(plan, norm_bound=bound)
        outcome, _ = admit([("east", honest("east", plan_digest=tight.digest))], plan=tight)
        assert ("east" in outcome.admitted) == admitted
    assert "the reply was not clipped, upgrade the client" in outcome.refused["east"]


def test_a_replayed_update_of_the_round_before_counts_for_nothing(honest, admit) -> None:
    outcome, spooled = admit([("east", honest("east", round=0)), ("north", honest("north"))])
    assert spooled == ["north"]
    assert outcome.ignored == ["east: reply of round 0 came in round 1, too late"]
    assert outcome.absent == {"east": "no reply in time"}
    assert outcome.refused == {}


def test_a_replay_with_the_round_corrected_is_caught_by_its_base(honest, admit) -> None:
    outcome, spooled = admit([("east", honest("east", base_digest=digest_of({})))])
    assert spooled == []
    assert "trained from model" in outcome.refused["east"]


def test_a_late_reply_does_not_stand_in_the_way_of_the_right_one(honest, admit) -> None:
    answers = [("east", honest("east", round=0)), ("east", honest("east")), ("north", honest("north"))]
    outcome, spooled = admit(answers)
    assert spooled == ["east", "north"]
    assert len(outcome.ignored) == 1


def test_a_second_copy_is_ignored_even_when_it_differs(honest, admit) -> None:
    first, second = honest("east"), changed(honest("east"), with_value(0.0))
    outcome, spooled = admit([("east", first), ("east", second), ("north", honest("north"))])
    assert spooled == ["east", "north"]
    assert outcome.admitted["east"].digest == digest_of(first.arrays)
    assert outcome.ignored == ["east: second reply in round 1"]


def test_a_second_try_after_a_refusal_is_ignored(honest, admit) -> None:
    outcome, spooled = admit([("east", changed(honest("east"), with_value(np.nan))), ("east", honest("east"))])
    assert spooled == []
    assert list(outcome.refused) == ["east"]
    assert outcome.ignored == ["east: second reply in round 1"]


def test_an_update_after_a_skip_is_a_second_reply(honest, admit) -> None:
    outcome, spooled = admit([("east", Skipped(site="east", round=1, reason="busy")), ("east", honest("east"))])
    assert spooled == []
    assert outcome.absent["east"] == "busy"
    assert outcome.admitted == {}
    assert outcome.ignored == ["east: second reply in round 1"]


def test_a_site_that_was_not_asked_is_ignored(honest, admit) -> None:
    outcome, spooled = admit([("mallory", honest("mallory")), ("east", honest("east"))])
    assert spooled == ["east"]
    assert outcome.ignored == ["mallory: not asked in round 1"]
    assert "mallory" not in {**outcome.refused, **outcome.absent, **outcome.admitted}


def test_everyone_who_was_asked_is_accounted_for_once(honest, admit) -> None:
    answers = [("north", Skipped(site="north", round=1, reason="the scanner is in use"))]
    outcome, _ = admit(answers)
    assert outcome.absent == {"north": "the scanner is in use", "east": "no reply in time"}
    unreadable = [("north", UpdateRejected("the reply is malformed")), ("east", honest("east"))]
    outcome, _ = admit(unreadable)
    assert (list(outcome.refused), list(outcome.admitted), outcome.absent) == (["north"], ["east"], {})


def test_a_reason_that_quotes_a_huge_reply_is_cut(honest, admit) -> None:
    outcome, _ = admit(
        [("east", replace(honest("east"), site="x" * 100_000)), ("north", UpdateRejected("y" * 100_000))]
    )
    assert [len(reason) for reason in outcome.refused.values()] == [LONGEST, LONGEST]
