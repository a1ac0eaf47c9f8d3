"""What leaves the building: the plan's tensors, within the plan's bound as the server will measure it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.outgoing import clip, outgoing
from core.federation.codec import codec_for
from core.federation.plan import Plan
from core.federation.tensors import Tensors, digest_of
from core.federation.update import check_arrays, difference_norm

BASE = {"a": np.array([1, 2], np.float32), "b": np.array([[3]], np.float32)}
NEW = {"a": np.array([4, 2], np.float32), "b": np.array([[7]], np.float32)}  # 3, 0, 4 away: norm 5


@pytest.fixture
def small(plan: Plan) -> Plan:
    """A plan of the two tensors above."""
    return replace(plan, tensors={"a": (2,), "b": (1, 1)}, norm_bound=10.0)


def sent(new: Tensors, *, base: Tensors = BASE, plan: Plan) -> dict[str, np.ndarray]:
    """What leaves when nothing was left over before."""
    return outgoing(new, base=base, plan=plan, residual={}).arrays


def test_a_difference_within_the_bound_leaves_untouched(small: Plan) -> None:
    assert digest_of(sent(NEW, plan=small)) == digest_of(NEW)
    assert digest_of(sent(NEW, plan=replace(small, norm_bound=5.0))) == digest_of(NEW)


def test_a_longer_difference_is_shortened_in_its_direction() -> None:
    # Norm 5 to 2.5: half of 3, 0 and 4.
    clipped = clip(NEW, base=BASE, bound=2.5)
    np.testing.assert_allclose(clipped["a"], [2.5, 2], rtol=1e-6)
    np.testing.assert_allclose(clipped["b"], [[5]], rtol=1e-6)


def test_only_the_plans_tensors_leave(small: Plan) -> None:
    more = {**NEW, "secret": np.ones(3, np.float32)}
    assert sorted(sent(more, plan=small)) == ["a", "b"]


@pytest.mark.parametrize("codec", ["exact", "bf16", "int8"])
def test_no_step_at_all_leaves_as_no_step(small: Plan, codec: str) -> None:
    wire = sent(BASE, plan=replace(small, codec=codec))
    assert difference_norm(wire, base=BASE, codec=codec_for(codec)) == 0.0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(1e-4, 1e3),
    bound=st.floats(1e-5, 10.0),
    codec=st.sampled_from(["exact", "bf16", "int8"]),
)
def test_an_honest_update_is_never_over_the_bound_at_the_server(
    small: Plan, seed: int, scale: float, bound: float, codec: str
) -> None:
    generator = np.random.default_rng(seed)
    base = {name: generator.normal(0, 3, shape).astype(np.float32) for name, shape in (("a", (40,)), ("b", (5, 8)))}
    new = {name: (value + generator.normal(0, scale, value.shape)).astype(np.float32) for name, value in base.items()}
    plan = replace(small, tensors={"a": (40,), "b": (5, 8)}, norm_bound=bound, codec=codec)
    wire = sent(new, base=base, plan=plan)
    check_arrays(wire, spec=plan.tensors, codec=codec_for(codec))
    norm = difference_norm(wire, base=base, codec=codec_for(codec))
    assert norm <= bound
    # Little is given away: as long as float32 can express it, the difference reaches 98% of what is allowed.
    longest = min(bound, difference_norm(new, base=base, codec=codec_for("exact")))
    if bound > 1e-3:
        assert norm >= 0.98 * longest


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("codec", ["bf16", "int8"])
def test_rounding_does_not_push_a_clipped_update_over_the_bound(small: Plan, seed: int, codec: str) -> None:
    generator = np.random.default_rng(seed)
    base = {"a": np.zeros(2, np.float32), "b": np.zeros((1, 1), np.float32)}
    new = {name: generator.normal(0, 10, value.shape).astype(np.float32) for name, value in base.items()}
    plan = replace(small, codec=codec, norm_bound=1.0)
    assert difference_norm(sent(new, base=base, plan=plan), base=base, codec=codec_for(codec)) <= 1.0


@pytest.fixture
def rounding(plan: Plan) -> Plan:
    """A plan that sends 50 values as int8."""
    return replace(plan, tensors={"a": (50,)}, codec="int8", norm_bound=10.0)


def test_what_int8_leaves_over_is_the_rest_of_the_wanted_difference(rounding: Plan) -> None:
    base = {"a": np.zeros(50, np.float32)}
    new = {"a": np.random.default_rng(0).normal(0, 1e-2, 50).astype(np.float32)}
    made = outgoing(new, base=base, plan=rounding, residual={})
    decoded = codec_for("int8").decode(made.arrays["a"], base["a"])
    np.testing.assert_allclose(decoded + made.residual["a"], new["a"], rtol=0, atol=1e-9)
    assert 0 < np.abs(made.residual["a"]).max() <= 0.5 * np.abs(new["a"]).max() / 127 * 1.001


def test_error_feedback_loses_nothing_over_many_rounds(rounding: Plan) -> None:
    # A step of 1 and many of 0.001, below half a level (1 / 254): without feedback these would never arrive.
    step = np.concatenate([[1.0], np.full(49, 1e-3)]).astype(np.float32)
    base = {"a": np.zeros(50, np.float32)}
    codec, arrived, residual = codec_for("int8"), np.zeros(50), {}
    for _ in range(40):
        made = outgoing({"a": step}, base=base, plan=rounding, residual=residual)
        arrived, residual = arrived + codec.decode(made.arrays["a"], base["a"]), made.residual
    np.testing.assert_array_equal(codec.decode(codec.encode(step, base["a"]), base["a"])[1:], 0)
    np.testing.assert_allclose(arrived + residual["a"], 40 * step.astype(np.float64), rtol=1e-6)
    np.testing.assert_allclose(arrived[1:], 0.04, atol=0.004)


def test_what_was_left_over_does_not_push_an_update_over_the_bound_and_what_is_clipped_is_gone(rounding: Plan) -> None:
    base = {"a": np.zeros(50, np.float32)}
    new, left = {"a": np.full(50, 1e-2, np.float32)}, {"a": np.linspace(1, 2, 50, dtype=np.float32)}
    tight = replace(rounding, norm_bound=0.1)
    made = outgoing(new, base=base, plan=tight, residual=left)
    assert 0.098 < difference_norm(made.arrays, base=base, codec=codec_for("int8")) <= 0.1
    assert np.abs(made.residual["a"]).max() < 0.1 / 127  # rounding alone, not the clipped 10.6


@pytest.mark.parametrize("codec", ["exact", "bf16"])
def test_the_other_codecs_leave_nothing_over(small: Plan, codec: str) -> None:
    assert outgoing(NEW, base=BASE, plan=replace(small, codec=codec), residual={}).residual == {}
