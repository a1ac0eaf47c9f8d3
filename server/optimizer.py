"""How the global model steps by the mean update.

Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar and McMahan, "Adaptive Federated Optimization", ICLR 2021,
arXiv:2003.00295. FedAvg with rate 1 is McMahan et al. 2017.
Hsu, Qi and Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification", 2019,
arXiv:1909.06335 (server momentum, FedAvgM).
Douillard et al., "DiLoCo: Distributed Low-Communication Training of Language Models", 2023, arXiv:2311.08105 (Nesterov
momentum over rounds of local AdamW).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import ConfigError
from core.federation.tensors import Tensors

Real = npt.NDArray[np.float64]
Moments = dict[str, npt.NDArray[Any]]
NAMES = ("fedavg", "fedavgm", "nesterov", "fedadam")
BLOCK = 16_384
"""Values stepped at once: their float64 form stays in a core's cache."""


@dataclass(frozen=True, kw_only=True)
class ServerOptimizerConfig:
    """FedAvg, FedAvg with momentum, or FedAdam."""

    name: str = "fedavg"
    """fedavg, fedavgm (heavy ball), nesterov or fedadam."""
    rate: float = 1.0
    """Learning rate; for fedadam 1e-3 to 1e-2 is usual. Momentum multiplies a steady step by 1 / (1 - beta1)."""
    beta1: float = 0.9
    """Momentum (fedavgm, nesterov), or decay of the first moment (fedadam)."""
    beta2: float = 0.99
    """Second moment (fedadam)."""
    adaptivity: float = 1e-3
    """Tau of the paper's Algorithm 2 (fedadam)."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        if found := list(self._problems()):
            raise ConfigError(found)

    def _problems(self) -> Iterator[str]:
        if self.name not in NAMES:
            yield f"federation.server.name must be one of {', '.join(NAMES)}, got {self.name!r}"
        if not 0 < self.rate <= 10:
            yield f"federation.server.rate must lie in (0, 10], got {self.rate}"
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            yield f"federation.server.beta1 and beta2 must lie in [0, 1), got {self.beta1} and {self.beta2}"
        if not self.adaptivity > 0:
            yield f"federation.server.adaptivity must be positive, got {self.adaptivity}"


def step(
    model: Tensors, mean: Mapping[str, Real], moments: Moments, *, config: ServerOptimizerConfig
) -> tuple[Tensors, Moments]:
    """The next global model (of the same type, float32) and optimizer state (float64) after one mean update."""
    if config.name == "fedavg":
        return {name: _moved(value, config.rate, mean[name]) for name, value in model.items()}, {}
    if config.name == "fedadam":
        return _fedadam(model, mean, moments, config=config)
    return _momentum(model, mean, moments, config=config)


def _momentum(
    model: Tensors, mean: Mapping[str, Real], moments: Moments, *, config: ServerOptimizerConfig
) -> tuple[Tensors, Moments]:
    """V <- b v + delta; heavy ball x += rate v, Nesterov x += rate (delta + b v) (Sutskever et al., ICML 2013)."""
    stepped: Tensors = {}
    kept: Moments = {}
    for name, value in model.items():
        delta = mean[name]  # folded when asked for, so once
        speed = delta + config.beta1 * moments[f"m/{name}"] if f"m/{name}" in moments else delta
        kept[f"m/{name}"] = speed
        ahead = delta + config.beta1 * speed if config.name == "nesterov" else speed
        stepped[name] = (value + config.rate * ahead).astype(value.dtype)
    return stepped, kept


def _fedadam(
    model: Tensors, mean: Mapping[str, Real], moments: Moments, *, config: ServerOptimizerConfig
) -> tuple[Tensors, Moments]:
    stepped: Tensors = {}
    kept: Moments = {}
    for name, value in model.items():
        zero, delta = np.zeros(value.shape, np.float64), mean[name]
        # Algorithm 2: m_t = b1 m + (1 - b1) delta; v_t = b2 v + (1 - b2) delta^2; x += rate m / (sqrt(v) + tau).
        # The paper starts v at tau^2 and has no bias correction.
        first = config.beta1 * moments.get(f"m/{name}", zero) + (1 - config.beta1) * delta
        second = config.beta2 * moments.get(f"v/{name}", zero + config.adaptivity**2) + (1 - config.beta2) * delta**2
        kept[f"m/{name}"], kept[f"v/{name}"] = first, second
        stepped[name] = (value + config.rate * first / (np.sqrt(second) + config.adaptivity)).astype(value.dtype)
    return stepped, kept


def _moved(value: npt.NDArray[Any], rate: float, delta: Real) -> npt.NDArray[Any]:
    """The value plus `rate` times `delta`, computed in float64, in the value's type."""
    moved = np.empty_like(value, order="C")
    flat_value, flat_delta, flat_moved = value.reshape(-1), delta.reshape(-1), moved.reshape(-1)
    block = np.empty(min(BLOCK, value.size))
    for start in range(0, value.size, BLOCK):
        place = slice(start, min(start + BLOCK, value.size))
        part = block[: place.stop - start]
        np.multiply(flat_delta[place], rate, out=part)
        np.add(flat_value[place], part, out=part)
        flat_moved[place] = part
    return moved
