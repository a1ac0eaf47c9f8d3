"""What stands behind the encoder in a downstream task."""
