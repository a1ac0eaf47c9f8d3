"""One round at a hospital: repeatable, and only for the approved plan and its model."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from client.trainer import Trainer
from core.errors import PlanError
from core.federation.codec import codec_for
from core.federation.plan import Plan
from core.federation.tensors import Tensors, digest_of, load_state, state_of
from core.federation.update import METRICS, Folded, Instruction, Skipped, Update, check_metrics, difference_norm
from core.files import load_tensors
from core.models.build import build_model
from core.training.pretrain import Pretraining
from core.training.settings import TrainingConfig

Make = Callable[..., Trainer]


@pytest.fixture
def instruct(plan: Plan, model: Tensors) -> Callable[..., Instruction]:
    """(field=value, ...) -> an instruction for round 0 of the plan."""
    values = {"plan_digest": plan.digest, "round": 0, "base": model, "folded": None}
    return lambda **changes: Instruction(**{**values, **changes})


def trained(trainer: Trainer, instruction: Instruction) -> Update:
    update = trainer.round(instruction)
    assert isinstance(update, Update)
    return update


def folded(update: Update) -> Folded:
    return Folded(round=update.round, digest=digest_of(update.arrays))


def test_an_update_says_what_it_is(
    trainer: Make, instruct: Callable[..., Instruction], plan: Plan, model: Tensors
) -> None:
    update = trained(trainer("east"), instruct())
    assert (update.site, update.round, update.plan_digest) == ("east", 0, plan.digest)
    assert update.base_digest == digest_of(model)
    assert sorted(update.arrays) == sorted(plan.tensors)
    assert tuple(update.metrics) == METRICS
    check_metrics(update.metrics)
    assert update.metrics["images"] == 2 * 4
    assert 0 < difference_norm(update.arrays, base=model, codec=codec_for("exact")) <= plan.norm_bound


def test_a_repeated_round_gives_the_same_bytes(trainer: Make, instruct: Callable[..., Instruction]) -> None:
    one = trainer("east")
    first = trained(one, instruct())
    again = trained(one, instruct())
    assert digest_of(again.arrays) == digest_of(first.arrays)
    second = instruct(round=1, base=first.arrays, folded=folded(first))
    assert digest_of(trained(one, second).arrays) == digest_of(trained(one, second).arrays)


def test_a_hospital_started_again_goes_on_as_if_it_had_not_been(
    trainer: Make, instruct: Callable[..., Instruction]
) -> None:
    one = trainer("east")
    first = trained(one, instruct())
    second = instruct(round=1, base=first.arrays, folded=folded(first))
    expected = trained(one, second)
    assert digest_of(trained(Trainer(site=one.site), second).arrays) == digest_of(expected.arrays)


def test_a_folded_round_continues_its_moments_and_a_refused_one_does_not(
    trainer: Make, instruct: Callable[..., Instruction]
) -> None:
    one = trainer("east")
    first = trained(one, instruct())
    after_fold = trained(one, instruct(round=1, base=first.arrays, folded=folded(first)))
    fresh = trainer("east", folder=str(one.site.folder) + "-fresh")
    trained(fresh, instruct())
    after_refusal = trained(fresh, instruct(round=1, base=first.arrays, folded=None))
    assert digest_of(after_fold.arrays) != digest_of(after_refusal.arrays)
    never = trainer("east", folder=str(one.site.folder) + "-never")
    from_nothing = trained(never, instruct(round=1, base=first.arrays, folded=None))
    assert digest_of(after_refusal.arrays) == digest_of(from_nothing.arrays)


def test_rounds_take_the_steps_of_the_schedule_where_the_last_ended(
    trainer: Make, instruct: Callable[..., Instruction], plan: Plan
) -> None:
    # Two rounds of two steps, each from where the last ended, are four steps of one loop.
    one = trainer("east")
    first = trained(one, instruct())
    second = trained(one, instruct(round=1, base=first.arrays, folded=folded(first)))
    loop = Pretraining(
        build_model(plan.encoder, plan.objective, seed=plan.seed),
        config=TrainingConfig(**plan.training),
        total_steps=plan.rounds * plan.local_steps,
    )
    loop.run(one.site.source(plan), first=0, steps=4)
    assert digest_of(second.arrays) == digest_of(state_of(loop.model))


def test_a_site_that_sat_out_trains_the_steps_of_the_round_it_is_in(
    trainer: Make, instruct: Callable[..., Instruction], plan: Plan, model: Tensors
) -> None:
    one = trainer("east", skip="0")
    assert one.round(instruct()) == Skipped(site="east", round=0, reason="the site sits this round out")
    late = trained(one, instruct(round=1))
    loop = Pretraining(
        build_model(plan.encoder, plan.objective, seed=plan.seed), config=TrainingConfig(**plan.training), total_steps=6
    )
    load_state(loop.model, model)
    loop.run(one.site.source(plan), first=2, steps=2)
    assert digest_of(late.arrays) == digest_of(state_of(loop.model))


def test_sites_differ(trainer: Make, instruct: Callable[..., Instruction]) -> None:
    assert digest_of(trained(trainer("east"), instruct()).arrays) != digest_of(
        trained(trainer("north"), instruct()).arrays
    )


def test_receipts_are_kept_once_each(trainer: Make, instruct: Callable[..., Instruction]) -> None:
    one = trainer("east")
    for number, receipt in enumerate(["", '{"round":0}', '{"round":0}', '{"round":1}']):
        one.round(instruct(round=min(number, 2), receipt=receipt))
    lines = (one.site.folder / "receipts.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [0, 1]


def test_a_receipt_is_kept_also_in_a_round_that_is_sat_out(trainer: Make, instruct: Callable[..., Instruction]) -> None:
    one = trainer("east", skip="1")
    one.round(instruct(round=1, receipt='{"round":0}'))
    assert (one.site.folder / "receipts.jsonl").read_text() == '{"round":0}\n'


def test_another_plan_is_not_run_and_leaves_nothing(trainer: Make, instruct: Callable[..., Instruction]) -> None:
    one = trainer("east")
    before = sorted(path.name for path in one.site.folder.iterdir())
    with pytest.raises(PlanError, match="asked to run plan 0000"):
        one.round(instruct(plan_digest="0" * 64, receipt="{}"))
    assert sorted(path.name for path in one.site.folder.iterdir()) == before


def test_nothing_runs_before_a_plan_is_approved(hospital: Callable, instruct: Callable[..., Instruction]) -> None:
    with pytest.raises(PlanError, match="has approved no plan yet"):
        Trainer(site=hospital("east")).round(instruct())


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda base: {**base, "extra": np.zeros(1, np.float32)}, "1 tensors are not in the plan, first extra"),
        (lambda base: dict(list(base.items())[1:]), "1 tensors are missing"),
        (lambda base: {name: value[..., None] for name, value in base.items()}, "the plan says"),
        (lambda base: {name: value * np.float32(np.nan) for name, value in base.items()}, "holds NaN or infinity"),
        (lambda base: {name: value + np.float32(np.inf) for name, value in base.items()}, "holds NaN or infinity"),
    ],
)
def test_a_model_that_is_not_the_plans_is_refused(
    trainer: Make, instruct: Callable[..., Instruction], model: Tensors, damage: Callable, reason: str
) -> None:
    with pytest.raises(PlanError, match="the model from the server is refused") as caught:
        trainer("east").round(instruct(base=damage(model)))
    assert reason in str(caught.value)


@pytest.mark.parametrize("number", [-1, 3, 10**9])
def test_a_round_outside_the_plan_is_refused(trainer: Make, instruct: Callable[..., Instruction], number: int) -> None:
    with pytest.raises(PlanError, match=f"round {number} is outside the plan's 3 rounds"):
        trainer("east").round(instruct(round=number))


def test_each_step_is_told_with_the_sites_name(trainer: Make, instruct: Callable[..., Instruction]) -> None:
    told: list[tuple[str, int, float, int]] = []
    one = trainer("north")
    one.on_step = lambda *step: told.append(step)
    update = trained(one, instruct(round=2))
    assert [(site, step, images) for site, step, _, images in told] == [("north", 4, 4), ("north", 5, 4)]
    assert update.metrics["loss"] == pytest.approx((told[0][2] + told[1][2]) / 2)


@pytest.mark.parametrize("codec", ["exact", "bf16", "int8"])
def test_a_tight_bound_is_kept(
    trainer: Make, instruct: Callable[..., Instruction], plan: Plan, model: Tensors, codec: str
) -> None:
    tight = replace(plan, norm_bound=1e-3, codec=codec)
    update = trained(trainer("east", plan=tight), instruct(plan_digest=tight.digest))
    assert 0.98e-3 < difference_norm(update.arrays, base=model, codec=codec_for(codec)) <= 1e-3


def test_reset_starts_each_round_with_empty_moments_and_kept_does_not(
    trainer: Make, instruct: Callable[..., Instruction], plan: Plan
) -> None:
    reset = replace(plan, local_state="reset")
    one = trainer("east", plan=reset)
    first = trained(one, instruct(plan_digest=reset.digest))
    second = instruct(plan_digest=reset.digest, round=1, base=first.arrays, folded=folded(first))
    after = trained(one, second)
    nothing = trainer("east", folder=str(one.site.folder) + "-nothing")
    expected = trained(nothing, instruct(round=1, base=first.arrays))
    assert digest_of(after.arrays) == digest_of(expected.arrays)
    kept = trainer("east", folder=str(one.site.folder) + "-kept")
    assert digest_of(trained(kept, instruct()).arrays) == digest_of(first.arrays)
    assert digest_of(trained(kept, replace(second, plan_digest=plan.digest)).arrays) != digest_of(after.arrays)


@pytest.mark.parametrize("local_state", ["kept", "reset"])
def test_what_int8_left_over_follows_the_folded_updates(
    trainer: Make, instruct: Callable[..., Instruction], plan: Plan, model: Tensors, local_state: str
) -> None:
    rounding = replace(plan, codec="int8", local_state=local_state)
    one = trainer("east", plan=rounding)
    first = trained(one, instruct(plan_digest=rounding.digest))
    folded_first = folded(first)

    def second(folded: Folded | None) -> str:
        return digest_of(trained(one, instruct(plan_digest=rounding.digest, round=1, folded=folded)).arrays)

    with_feedback = second(folded_first)
    # The first of these two was not folded, so its repetition carries what the first round left over, again.
    assert second(folded_first) == with_feedback
    residual = load_tensors(one.site.folder / "moments.committed.safetensors", schema=1)[0]
    left = {name.removeprefix("residual/"): value for name, value in residual.items() if name.startswith("residual/")}
    codec = codec_for("int8")
    exact = trainer("east", folder=str(one.site.folder) + "-exact")
    wanted = trained(exact, instruct()).arrays
    for name, base in model.items():
        arrived = codec.decode(first.arrays[name], base)
        np.testing.assert_allclose(arrived + left[name], wanted[name].astype(np.float64) - base, rtol=0, atol=1e-8)
    # When the server folded nothing of this site, nothing is carried.
    assert second(None) != with_feedback
