"""Held-out loss, probes, intervals and the report."""
