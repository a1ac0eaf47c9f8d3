"""Ranges, the schedule's arithmetic, and the bound on an update."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError
from core.training.settings import TrainingConfig, learning_rate_at, update_bound

FLAT = TrainingConfig(learning_rate=0.1, warmup_fraction=0.0, final_fraction=1.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch", 0),
        ("accumulate", 0),
        ("accumulate", 3),
        ("learning_rate", 0.0),
        ("learning_rate", 10.0),
        ("learning_rate", math.nan),
        ("final_fraction", -0.1),
        ("warmup_fraction", 1.1),
        ("warmup_fraction", math.nan),
        ("weight_decay", -1e-9),
        ("weight_decay", math.nan),
        ("weight_decay", math.inf),
        ("beta1", 1.0),
        ("beta2", -0.1),
        ("clip_norm", 0.0),
        ("clip_norm", math.nan),
        ("clip_norm", math.inf),
        ("optimizer", "lion"),
        ("devices", 0),
        ("precision", "16-true"),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"training.{field} must .*, got {value!r}"):
        TrainingConfig(**{field: value})


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig(batch=0, learning_rate=-1.0, optimizer="x", precision="8")
    assert len(caught.value.problems) == 4


def test_the_rate_by_hand() -> None:
    # 10 steps, 2 of warm-up: 1/2, 1, then half a cosine from the peak to a tenth at the last, step 9, in 7 intervals.
    config = TrainingConfig(learning_rate=2.0, warmup_fraction=0.2, final_fraction=0.1)
    rates = [learning_rate_at(step, total=10, config=config) for step in range(10)]
    assert rates[:3] == [1.0, 2.0, 2.0]
    assert rates[5] == pytest.approx(2.0 * (0.1 + 0.9 * (1 + math.cos(math.pi * 3 / 7)) / 2))
    assert rates[9] == pytest.approx(0.2)


@given(total=st.integers(1, 400), warmup=st.floats(0.0, 1.0), final=st.floats(0.0, 1.0))
def test_the_rate_rises_then_falls_and_stays_between_its_ends(total: int, warmup: float, final: float) -> None:
    config = TrainingConfig(learning_rate=0.5, warmup_fraction=warmup, final_fraction=final)
    rates = [learning_rate_at(step, total=total, config=config) for step in range(total)]
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) == 0.5
    assert min(rates) >= 0.5 * min(final, 1 / max(1, round(warmup * total))) - 1e-12


@pytest.mark.parametrize("total", [1, 2, 3])
def test_a_study_of_few_steps_has_a_schedule(total: int) -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_fraction=0.0, final_fraction=0.05)
    rates = [learning_rate_at(step, total=total, config=config) for step in range(total)]
    assert rates[0] == 1.0
    assert total == 1 or rates[-1] == pytest.approx(0.05)


@settings(max_examples=60)
@given(gradients=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_no_adamw_round_exceeds_the_bound(gradients: list[float]) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.AdamW([parameter], lr=0.1, betas=(FLAT.beta1, FLAT.beta2), weight_decay=FLAT.weight_decay)
    for gradient in gradients:
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    assert abs(float(parameter.detach())) <= update_bound(FLAT, steps=len(gradients), parameters=1)


def test_the_bound_by_hand() -> None:
    # 1.5 * 0.1 * 1 * 4 steps * sqrt(9 parameters); beta2 0.999 would widen a step to 0.1 / sqrt(0.001).
    assert update_bound(FLAT, steps=4, parameters=9) == pytest.approx(1.5 * 0.1 * 4 * 3)
    slow = TrainingConfig(learning_rate=0.1, beta2=0.999)
    assert update_bound(slow, steps=4, parameters=9) == pytest.approx(1.5 * 0.1 * 4 * 3 * 0.1 / math.sqrt(0.001))
    plain = TrainingConfig(learning_rate=0.1, optimizer="sgd", clip_norm=2.0)
    assert update_bound(plain, steps=4, parameters=9) == pytest.approx(1.5 * 0.1 * 2.0 * 4)
