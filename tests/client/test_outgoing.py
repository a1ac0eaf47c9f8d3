"""What leaves the building: the plan's tensors, within the plan's bound as the server will measure it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.outgoing import clip, outgoing
from core.federation.codec import codec_for
from core.federation.plan import Plan
from core.federation.tensors import digest_of
from core.federation.update import check_arrays, difference_norm

BASE = {"a": np.array([1, 2], np.float32), "b": np.array([[3]], np.float32)}
NEW = {"a": np.array([4, 2], np.float32), "b": np.array([[7]], np.float32)}  # 3, 0, 4 away: norm 5


@pytest.fixture
def small(plan: Plan) -> Plan:
    """A plan of the two tensors above."""
    return replace(plan, tensors={"a": (2,), "b": (1, 1)}, norm_bound=10.0)


def test_a_difference_within_the_bound_leaves_untouched(small: Plan) -> None:
    assert digest_of(outgoing(NEW, base=BASE, plan=small)) == digest_of(NEW)
    assert digest_of(outgoing(NEW, base=BASE, plan=replace(small, norm_bound=5.0))) == digest_of(NEW)


def test_a_longer_difference_is_shortened_in_its_direction() -> None:
    # Norm 5 to 2.5: half of 3, 0 and 4.
    clipped = clip(NEW, base=BASE, bound=2.5)
    np.testing.assert_allclose(clipped["a"], [2.5, 2], rtol=1e-6)
    np.testing.assert_allclose(clipped["b"], [[5]], rtol=1e-6)


def test_only_the_plans_tensors_leave(small: Plan) -> None:
    more = {**NEW, "secret": np.ones(3, np.float32)}
    assert sorted(outgoing(more, base=BASE, plan=small)) == ["a", "b"]


@pytest.mark.parametrize("codec", ["exact", "bf16"])
def test_no_step_at_all_leaves_as_no_step(small: Plan, codec: str) -> None:
    wire = outgoing(BASE, base=BASE, plan=replace(small, codec=codec))
    assert difference_norm(wire, base=BASE, codec=codec_for(codec)) == 0.0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(1e-4, 1e3),
    bound=st.floats(1e-5, 10.0),
    codec=st.sampled_from(["exact", "bf16"]),
)
def test_an_honest_update_is_never_over_the_bound_at_the_server(
    small: Plan, seed: int, scale: float, bound: float, codec: str
) -> None:
    generator = np.random.default_rng(seed)
    base = {name: generator.normal(0, 3, shape).astype(np.float32) for name, shape in (("a", (40,)), ("b", (5, 8)))}
    new = {name: (value + generator.normal(0, scale, value.shape)).astype(np.float32) for name, value in base.items()}
    plan = replace(small, tensors={"a": (40,), "b": (5, 8)}, norm_bound=bound, codec=codec)
    wire = outgoing(new, base=base, plan=plan)
    check_arrays(wire, spec=plan.tensors, codec=codec_for(codec))
    norm = difference_norm(wire, base=base, codec=codec_for(codec))
    assert norm <= bound
    # Nothing is given away: as long as float32 can express it, the difference reaches 98% of what is allowed.
    longest = min(bound, difference_norm(new, base=base, codec=codec_for("exact")))
    if bound > 1e-3:
        assert norm >= 0.98 * longest


@pytest.mark.parametrize("seed", range(20))
def test_rounding_to_bf16_does_not_push_a_clipped_update_over_the_bound(small: Plan, seed: int) -> None:
    generator = np.random.default_rng(seed)
    base = {"a": np.zeros(2, np.float32), "b": np.zeros((1, 1), np.float32)}
    new = {name: generator.normal(0, 10, value.shape).astype(np.float32) for name, value in base.items()}
    plan = replace(small, codec="bf16", norm_bound=1.0)
    assert difference_norm(outgoing(new, base=base, plan=plan), base=base, codec=codec_for("bf16")) <= 1.0
