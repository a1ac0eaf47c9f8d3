"""What both sides of the federation share, and nothing that knows who is calling."""

__version__ = "0.1.0"
