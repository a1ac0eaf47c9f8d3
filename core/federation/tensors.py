"""Named tensors as plain arrays: their specification, check, digest, norm."""

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

Tensors = dict[str, npt.NDArray[np.float32]]
"""Float32 parameters by name."""
ENCODER = "encoder."
"""Begins the names of the encoder's tensors in a model that has more."""
Spec = dict[str, tuple[int, ...]]
"""Shape by name: the tensors that a plan lets travel."""


def state_of(module: torch.nn.Module) -> Tensors:
    """A copy of a module's parameters and buffers as float32 arrays, sorted by name."""
    state = module.state_dict()
    return {name: state[name].detach().cpu().numpy().astype(np.float32, copy=True) for name in sorted(state)}


def load_state(module: torch.nn.Module, tensors: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Copy arrays into a module; every name must match."""
    module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}, strict=True)


def encoder_part(model: Mapping[str, npt.NDArray[np.float32]]) -> Tensors:
    """The encoder's tensors of a model that has more, named as in the encoder."""
    return {name.removeprefix(ENCODER): value for name, value in model.items() if name.startswith(ENCODER)}


def spec_of(tensors: Mapping[str, npt.NDArray[np.generic]]) -> Spec:
    """The shapes, sorted by name."""
    return {name: tuple(tensors[name].shape) for name in sorted(tensors)}


def digest_of(tensors: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """SHA-256 over sorted names, shapes, dtypes and raw little-endian bytes (`design.md`, `final_hash`)."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = np.asarray(tensors[name], order="C")
        little = value.astype(value.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name}|{value.shape}|{little.dtype.str}|".encode())
        digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def problems_with(tensors: Mapping[str, npt.NDArray[np.generic]], spec: Spec) -> list[str]:
    """What differs from the specification: names, then shapes; empty when all is well."""
    missing = sorted(set(spec) - set(tensors))
    extra = sorted(set(tensors) - set(spec))
    found = [f"{len(missing)} tensors are missing, first {missing[0]}"] if missing else []
    found += [f"{len(extra)} tensors are not in the plan, first {extra[0]}"] if extra else []
    for name in sorted(set(spec) & set(tensors)):
        if tuple(tensors[name].shape) != tuple(spec[name]):
            found.append(f"{name} has shape {tuple(tensors[name].shape)}, the plan says {tuple(spec[name])}")
    return found
