"""How many CPU threads torch uses: part of a plan, since float sums depend on it."""

import torch


def use_threads(count: int) -> None:
    """Set it for this process; at least 1."""
    torch.set_num_threads(count)
