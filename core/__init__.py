"""What both sides of the federation share, and nothing that knows who is calling."""

import os

__version__ = "0.1.0"

# OpenMP threads that wait sleep instead of spinning: as fast on an idle machine, 1.4 times as fast on a busy one (two
# threads, two cores, one of them taken). It is read when torch is imported, so it stands before every import of torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A hospital's firewall log must show one destination: Flower's telemetry and update check are off. Flower reads both
# when it is imported, so the other packages import this one first.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
