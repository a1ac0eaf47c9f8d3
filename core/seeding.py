"""Public randomness: every generator follows from (run seed, purpose, round, site, ...).

For initialization, augmentation, masks and non-private sampling only. Differential-privacy noise and Poisson draws must
come from a site's secret instead, since anyone who knows the plan can repeat what stands here.
"""

import hashlib

import numpy as np
import torch


def derive(seed: int, *path: str | int) -> int:
    """A 63-bit seed for one purpose: SHA-256 over the run's seed and the path that names the purpose."""
    text = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *path: str | int) -> np.random.Generator:
    """A NumPy generator for one purpose."""
    return np.random.Generator(np.random.Philox(key=derive(seed, *path)))


def torch_generator(seed: int, *path: str | int) -> torch.Generator:
    """A CPU torch generator for one purpose."""
    return torch.Generator().manual_seed(derive(seed, *path))
