"""The thread count."""

import torch

from core.threads import use_threads


def test_the_thread_count_is_torchs() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(3)
        assert torch.get_num_threads() == 3
    finally:
        use_threads(before)
