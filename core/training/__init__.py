"""One training step, used by every arm."""
