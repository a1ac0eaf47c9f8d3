"""What an update may hold."""

import math

import numpy as np
import pytest

from core.errors import UpdateRejected
from core.federation.codec import codec_for
from core.federation.update import METRICS, check_arrays, check_metrics, difference_norm

SPEC = {"a": (2,), "b": (1, 1)}
BASE = {"a": np.ones(2, np.float32), "b": np.ones((1, 1), np.float32)}


def test_the_norm_is_over_all_tensors_of_the_difference() -> None:
    # (3, 0) and 4 away from the base: sqrt(9 + 0 + 16) = 5.
    arrays = {"a": np.array([4, 1], np.float32), "b": np.array([[5]], np.float32)}
    assert difference_norm(arrays, base=BASE, codec=codec_for("exact")) == 5.0
    bits = {"a": np.array([0x4040, 0], np.uint16), "b": np.array([[0x4080]], np.uint16)}  # 3, 0 and 4 in bfloat16
    assert difference_norm(bits, base=BASE, codec=codec_for("bf16")) == 5.0


def test_the_norm_of_the_largest_numbers_is_no_overflow() -> None:
    most = np.finfo(np.float32).max
    arrays = {"a": np.array([most, most], np.float32), "b": np.array([[most]], np.float32)}
    assert difference_norm(arrays, base=BASE, codec=codec_for("exact")) == pytest.approx(math.sqrt(3) * float(most))


@pytest.mark.parametrize("bits", [0x7FC0, 0x7F81, 0xFFFF, 0x7F80, 0xFF80])
def test_nan_and_infinity_in_sixteen_bits_are_found(bits: int) -> None:
    arrays = {"a": np.array([0, 0], np.uint16), "b": np.array([[bits]], np.uint16)}
    with pytest.raises(UpdateRejected, match="b holds NaN or infinity"):
        difference_norm(arrays, base=BASE, codec=codec_for("bf16"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_in_float32_are_found(value: float) -> None:
    arrays = {"a": np.array([1, value], np.float32), "b": BASE["b"]}
    with pytest.raises(UpdateRejected, match="a holds NaN or infinity"):
        difference_norm(arrays, base=BASE, codec=codec_for("exact"))


def test_the_planned_arrays_pass() -> None:
    check_arrays(BASE, spec=SPEC, codec=codec_for("exact"))


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"a": BASE["a"]}, "1 tensors are missing, first b"),
        ({}, "2 tensors are missing, first a"),
        ({**BASE, "m/exp_avg": BASE["a"]}, "not in the plan, first m/exp_avg"),
        ({**BASE, "b": np.ones(1, np.float32)}, r"b has shape \(1,\), the plan says \(1, 1\)"),
        ({**BASE, "b": np.ones((1, 1), np.float64)}, "b is float64, the plan's codec sends float32"),
        ({**BASE, "b": np.ones((1, 1), np.uint16)}, "b is uint16"),
        ({**BASE, "b": np.ones((1, 1), ">f4")}, "b is >f4"),
    ],
)
def test_anything_but_the_planned_arrays_is_refused(arrays: dict[str, np.ndarray], reason: str) -> None:
    with pytest.raises(UpdateRejected, match=reason):
        check_arrays(arrays, spec=SPEC, codec=codec_for("exact"))


def test_the_first_problem_is_named_and_the_others_counted() -> None:
    arrays = {"a": np.ones(3, np.float64), "x": np.ones(1, np.float32)}
    with pytest.raises(UpdateRejected, match=r"1 tensors are missing, first b \(and 3 more\)"):
        check_arrays(arrays, spec=SPEC, codec=codec_for("exact"))


def test_the_allowed_metrics_pass() -> None:
    check_metrics(dict.fromkeys(METRICS, 1.0))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(UpdateRejected, match="metric 'loss' is not finite"):
        check_metrics({"images": 4.0, "loss": value})


def test_a_metric_off_the_list_is_refused() -> None:
    with pytest.raises(UpdateRejected, match="metric 'patient_17' is not on the allow-list"):
        check_metrics({"loss": 1.0, "patient_17": 1.0})
