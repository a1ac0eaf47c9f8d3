"""The thread count, and that waiting threads sleep."""

import subprocess
import sys

import torch

from core.threads import use_threads


def test_the_thread_count_is_torchs() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(3)
        assert torch.get_num_threads() == 3
    finally:
        use_threads(before)


def test_the_simulator_asks_openmp_to_sleep_before_torch_is_imported() -> None:
    script = (
        "import sys, core, os; assert 'torch' not in sys.modules; "
        "import simulations.run; assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
