"""Named tensors: one digest for the same values, another for anything else."""

import numpy as np
import torch

from core.federation.tensors import digest_of, load_state, problems_with, spec_of, state_of

BASE = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(2, np.float32)}


def test_the_digest_sees_name_shape_type_and_every_bit() -> None:
    flipped = BASE["a"].copy()
    flipped.view(np.uint32)[1, 2] ^= 1
    others = [
        {"a": BASE["a"], "c": BASE["b"]},
        {"a": BASE["a"].reshape(3, 2), "b": BASE["b"]},
        {"a": BASE["a"].view(np.uint32), "b": BASE["b"]},
        {"a": flipped, "b": BASE["b"]},
        {"a": BASE["a"], "b": -BASE["b"]},
        {"a": BASE["a"]},
        {},
    ]
    assert len({digest_of(tensors) for tensors in [BASE, *others]}) == 1 + len(others)


def test_the_digest_sees_values_only() -> None:
    same = [
        dict(reversed(BASE.items())),
        {"a": np.asfortranarray(BASE["a"]), "b": np.zeros(4, np.float32)[::2]},
        {name: value.astype(value.dtype.newbyteorder(">")) for name, value in BASE.items()},
    ]
    assert {digest_of(tensors) for tensors in same} == {digest_of(BASE)}


def test_a_scalar_differs_from_a_list_of_one() -> None:
    assert digest_of({"a": np.array(1.0)}) != digest_of({"a": np.array([1.0])})


def test_values_moved_between_tensors_change_the_digest() -> None:
    first = {"a": np.zeros(1, np.float32), "b": np.zeros(3, np.float32)}
    second = {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float32)}
    assert digest_of(first) != digest_of(second)


def test_a_state_is_a_copy_and_comes_back() -> None:
    module = torch.nn.Linear(3, 2)
    before = state_of(module)
    kept = {name: value.copy() for name, value in before.items()}
    with torch.no_grad():
        module.weight.add_(1.0)
    assert digest_of(before) == digest_of(kept) != digest_of(state_of(module))
    load_state(module, before)
    assert digest_of(state_of(module)) == digest_of(kept)
    before["weight"] += 1.0
    assert digest_of(state_of(module)) == digest_of(kept)


def test_read_only_values_off_the_wire_are_loaded() -> None:
    module = torch.nn.Linear(3, 2)
    values = {
        name: np.frombuffer(value.tobytes(), np.float32).reshape(value.shape)
        for name, value in state_of(module).items()
    }
    load_state(module, values)
    assert digest_of(state_of(module)) == digest_of(values)


def test_what_differs_from_the_plan_is_said() -> None:
    spec = spec_of(BASE)
    assert spec == {"a": (2, 3), "b": (2,)}
    assert problems_with(BASE, spec) == []
    odd = {"a": np.zeros((3, 2), np.float32), "x": np.zeros(1, np.float32)}
    assert problems_with(odd, spec) == [
        "1 tensors are missing, first b",
        "1 tensors are not in the plan, first x",
        "a has shape (3, 2), the plan says (2, 3)",
    ]
