"""Public randomness: every generator follows from (run seed, purpose, round, site, ...).

For initialization, augmentation, masks and non-private sampling only. Differential-privacy noise and Poisson draws must
come from a site's secret instead, since anyone who knows the plan can repeat what stands here.

G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014,
doi:10.1145/2660193.2660195 (the counter-based numbers).
"""

import hashlib

import numpy as np
import torch
from torch import Tensor

# B batch, U random numbers of one image


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


def counter_uniform(seeds_B: Tensor, count: int) -> Tensor:
    """`count` numbers in [0, 1) an image, float32 (B, U), that follow from the image's own seed alone.

    SplitMix64 of the seed (Steele et al., figure 17), so neither order nor batch matters. Seeds are int64 on the CPU.
    """
    weyl_U = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z_BU = seeds_B.numpy().astype(np.uint64)[:, None] + weyl_U
    z_BU = (z_BU ^ (z_BU >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z_BU = (z_BU ^ (z_BU >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z_BU = z_BU ^ (z_BU >> np.uint64(31))
    return torch.from_numpy((z_BU >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))
