"""How the global model steps: FedAvg, momentum and FedAdam by hand."""

import math
from typing import Any

import numpy as np
import pytest

from core.errors import ConfigError
from server.optimizer import ServerOptimizerConfig, step

MODEL = {"a": np.array([1.0, -2.0], np.float32)}
MEAN = {"a": np.array([0.5, 0.25])}


def test_fedavg_with_rate_1_adds_the_mean() -> None:
    moved, moments = step(MODEL, MEAN, {}, config=ServerOptimizerConfig())
    assert moved["a"].tolist() == [1.5, -1.75]
    assert moved["a"].dtype == np.float32
    assert moments == {}


def test_fedavg_adds_the_rate_times_the_mean_and_leaves_its_input_alone() -> None:
    moved, _ = step(MODEL, MEAN, {}, config=ServerOptimizerConfig(rate=2.0))
    assert moved["a"].tolist() == [2.0, -1.5]
    assert MODEL["a"].tolist() == [1.0, -2.0]


def test_fedavg_adds_in_float64() -> None:
    # 1 + 2^-25 + 2^-25 would be 1 in float32 twice; the sum 1 + 2^-24 * 1.5 rounds up to the next float32.
    moved, _ = step({"a": np.ones(1, np.float32)}, {"a": np.array([1.5 * 2**-24])}, {}, config=ServerOptimizerConfig())
    assert moved["a"][0] == np.float32(1 + 2**-23)


def test_float64_models_stay_so_for_proofs() -> None:
    moved, _ = step({"a": np.array([1.0])}, {"a": np.array([1e-12])}, {}, config=ServerOptimizerConfig())  # type: ignore
    assert moved["a"].dtype == np.float64
    assert moved["a"][0] == 1.0 + 1e-12


def test_two_steps_of_the_heavy_ball_by_hand() -> None:
    # v = 0.5, x = 1 + 0.5 v; v = 0.8 * 0.5 + 0.25, x again.
    config = ServerOptimizerConfig(name="fedavgm", rate=0.5, beta1=0.8)
    model, moments = step(MODEL, {"a": np.array([0.5, 0.0])}, {}, config=config)
    assert model["a"].tolist() == [1.25, -2.0]
    model, moments = step(model, {"a": np.array([0.25, 0.0])}, moments, config=config)
    assert moments["m/a"][0] == pytest.approx(0.8 * 0.5 + 0.25)
    assert model["a"][0] == pytest.approx(1.25 + 0.5 * (0.8 * 0.5 + 0.25), rel=1e-6)


def test_two_steps_of_nesterov_by_hand() -> None:
    # v = 0.5, x = 1 + 0.5 (0.5 + 0.8 v); v = 0.8 * 0.5 + 0.25, x += 0.5 (0.25 + 0.8 v).
    config = ServerOptimizerConfig(name="nesterov", rate=0.5, beta1=0.8)
    model, moments = step(MODEL, {"a": np.array([0.5, 0.0])}, {}, config=config)
    first = 1 + 0.5 * (0.5 + 0.8 * 0.5)
    assert model["a"][0] == pytest.approx(first, rel=1e-6)
    model, moments = step(model, {"a": np.array([0.25, 0.0])}, moments, config=config)
    assert model["a"][0] == pytest.approx(first + 0.5 * (0.25 + 0.8 * (0.8 * 0.5 + 0.25)), rel=1e-6)


@pytest.mark.parametrize("name", ["fedavgm", "nesterov"])
def test_momentum_of_nothing_is_fedavg(name: str) -> None:
    config = ServerOptimizerConfig(name=name, beta1=0.0)
    moved, moments = step(MODEL, MEAN, {"m/a": np.array([7.0, 7.0])}, config=config)
    assert moved["a"].tolist() == [1.5, -1.75]
    assert moments["m/a"].tolist() == [0.5, 0.25]


def test_two_steps_of_fedadam_by_hand() -> None:
    # m = 0.9 * 0 + 0.1 * 0.5 = 0.05; v = 0.99 * 0.001^2 + 0.01 * 0.25; x = 1 + 0.01 m / (sqrt(v) + 0.001); again.
    config = ServerOptimizerConfig(name="fedadam", rate=0.01)
    model, moments = step(MODEL, MEAN, {}, config=config)
    m, v = 0.1 * 0.5, 0.99 * 1e-6 + 0.01 * 0.25
    x = np.float32(1.0 + 0.01 * m / (math.sqrt(v) + 1e-3))
    assert (moments["m/a"][0], moments["v/a"][0]) == (pytest.approx(m), pytest.approx(v))
    assert model["a"][0] == x
    model, moments = step(model, {"a": np.array([-0.5, 0.0])}, moments, config=config)
    m, v = 0.9 * m - 0.1 * 0.5, 0.99 * v + 0.01 * 0.25
    assert (moments["m/a"][0], moments["v/a"][0]) == (pytest.approx(m), pytest.approx(v))
    assert model["a"][0] == pytest.approx(x + 0.01 * m / (math.sqrt(v) + 1e-3), rel=1e-6)
    assert {value.dtype for value in moments.values()} == {np.dtype(np.float64)}


def test_fedadam_stands_still_at_a_mean_of_zero() -> None:
    moved, _ = step(MODEL, {"a": np.zeros(2)}, {}, config=ServerOptimizerConfig(name="fedadam", rate=0.01))
    assert moved["a"].tolist() == [1.0, -2.0]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"name": "fedsgd"}, "name must be one of fedavg, fedavgm, nesterov, fedadam, got 'fedsgd'"),
        ({"rate": 0.0}, "rate must lie in"),
        ({"rate": math.nan}, "rate must lie in"),
        ({"rate": 11.0}, "rate must lie in"),
        ({"beta1": 1.0}, "beta1 and beta2"),
        ({"beta2": -0.1}, "beta1 and beta2"),
        ({"adaptivity": 0.0}, "adaptivity must be positive"),
        ({"adaptivity": math.nan}, "adaptivity must be positive"),
    ],
)
def test_values_out_of_range_are_named(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        ServerOptimizerConfig(**values)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        ServerOptimizerConfig(name="x", rate=-1, adaptivity=-1)
    assert len(caught.value.problems) == 3
