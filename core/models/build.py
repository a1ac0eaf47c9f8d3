"""The model of a plan: encoder, decoder and objective from their sections."""

from collections.abc import Mapping
from typing import Any

from core.models.encoder import EncoderConfig, build_encoder
from core.objectives.dual_mim import DualMIM, ObjectiveConfig
from core.seeding import derive


def build_model(encoder: Mapping[str, Any], objective: Mapping[str, Any], *, seed: int) -> DualMIM:
    """Build and initialize; the same sections and seed give the same weights. Raises ConfigError."""
    trunk = build_encoder(EncoderConfig(**encoder), seed=derive(seed, "init", "encoder"))
    return DualMIM(trunk, ObjectiveConfig(**objective), seed=derive(seed, "init", "decoder"))
