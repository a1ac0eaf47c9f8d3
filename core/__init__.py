"""What both sides of the federation share, and nothing that knows who is calling."""

import os

__version__ = "0.1.0"

# A hospital's firewall log must show one destination: Flower's telemetry and update check are off, and Ray's usage
# statistics. Flower reads its two when it is imported, so the other packages import this one first.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
