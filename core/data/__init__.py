"""Manifest, cache, splits, sampling, augmentation and the built-in phantom."""
