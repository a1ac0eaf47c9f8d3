"""What both sides of the federation share, and nothing that knows who is calling."""

import os

__version__ = "0.1.0"

# A hospital's firewall log must show one destination: Flower's telemetry and update check are off. Flower reads both
# when it is imported, so the other packages import this one first.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
