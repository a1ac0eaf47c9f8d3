"""Weights from a file: the whole encoder, or an error that says what does not fit.

Nothing is downloaded and nothing in a file is executed. What a file may be is told in `core.models.checkpoint_layouts`.
Public weights stay under their own licence; `Loaded.licence` says what is known of it.

Jiao et al., "USFM: A universal ultrasound foundation model generalized to tasks and organs towards label efficient
image analysis", Medical Image Analysis 96:103202, 2024, arXiv:2401.00153.
Kang et al., "URFM: A general Ultrasound Representation Foundation Model for advancing ultrasound image diagnosis",
iScience 28(8):112917, 2025.
He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, arXiv:2111.06377.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import CheckpointError, ConfigError
from core.models.checkpoint_file import read_checkpoint, sha256_of
from core.models.checkpoint_layouts import find_encoder
from core.models.checkpoint_shapes import our_state, resize, shape_of
from core.models.encoder import Encoder, EncoderConfig
from core.models.normalization import IMAGENET, NORMALIZATIONS, PER_IMAGE, normalize

USFM_NAME = "USFM_latest.pth"
KNOWN = {"d5fdab3edd140e4ca61471bb4087f91cd7ff2ce270db71b9cab30feda881bd17": USFM_NAME}
"""Digests of published files; USFM's as third parties report it."""
_LICENCES = {
    "release": "in the model card beside it",
    "usfm": "CC-BY-NC 4.0 if it is USFM's: no commercial use, not to be passed on here",
    "beit-per-block": "CC-BY-NC 4.0 if it is made from USFM's: no commercial use, not to be passed on here",
    "urfm": "not known; ask URFM's authors",
}
_NOT_STATED = "not stated in the file; ask who published it"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An encoder and where it comes from."""

    encoder: Encoder
    path: str
    layout: str
    """What the keys say the file is; one of the table in `core.models.checkpoint_layouts`."""
    sha256: str
    """Of the file."""
    normalization: str
    """What the weights expect of their input; see `core.models.normalization`."""
    licence: str
    dropped: dict[str, str]
    """Why each key of the file that is not in the encoder was left out."""
    resized: dict[str, str]
    """What became of each tensor that was interpolated to another grid."""
    notes: tuple[str, ...]
    """What a reader of results should know beside."""

    def prepare(self, images_B1SS: Tensor) -> Tensor:
        """Grey images in [0, 1] as these weights expect them: (B, 1 or 3, S, S)."""
        return normalize(images_B1SS, how=self.normalization)

    def provenance(self) -> dict[str, Any]:
        """Everything but the weights, as JSON values."""
        told = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "encoder"}
        return {**told, "notes": list(self.notes), "encoder": asdict(self.encoder.config)}


def load_encoder(
    path: Path,
    *,
    side: int | None = None,
    sha256: str = "",
    heads: int = 0,
    normalization: str = "",
    drop_path: float = 0.0,
) -> Loaded:
    """The encoder that a file holds.

    Args:
        path: A `.safetensors`, `.pth`, `.pt` or `.bin` file.
        side: Pixels of the images to come, a multiple of the patch; None for those that the file was trained with.
        sha256: What the file's digest must be; empty to take any.
        heads: Of a plain ViT whose width is not a published one's; 0 if unknown.
        normalization: One of `NORMALIZATIONS`, where more is known than the file says; empty for its layout's.
        drop_path: Stochastic depth for training it further, in [0, 1).

    Raises:
        CheckpointError: the file is not there, damaged, another one, no whole encoder, or holds more than tensors.
        ConfigError: `side`, `normalization` or `drop_path` is out of range.
    """
    if normalization and normalization not in NORMALIZATIONS:
        raise ConfigError(f"normalization is {normalization!r}; choose one of {', '.join(NORMALIZATIONS)}")
    digest = sha256_of(path)
    if sha256 and digest != sha256.lower():
        raise CheckpointError(f"{path}: SHA-256 is {digest}, expected {sha256}; it is another file: download it again")
    file = read_checkpoint(path)
    found = find_encoder(file.content, name=str(path))
    config = replace(shape_of(found, document=file.document, heads=heads, name=str(path)), drop_path=drop_path)
    state, resized = our_state(found), {}
    if side is not None and side != config.side:
        before, (state, config) = state, resize(state, config, side=side)
        resized = {key: _change(before[key], state[key]) for key in state if state[key] is not before[key]}
    ours = found.layout == "release" or file.document is not None
    return Loaded(
        encoder=_filled(config, state),
        path=str(path),
        layout=found.layout,
        sha256=digest,
        normalization=normalization or _normalization(path, file.document, ours=ours),
        licence=_LICENCES["release"] if ours else _LICENCES.get(found.layout, _NOT_STATED),
        dropped=found.dropped,
        resized=resized,
        notes=tuple(_notes(path, digest, layout=found.layout, assumed=not (ours or normalization))),
    )


def _filled(config: EncoderConfig, state: Mapping[str, Tensor]) -> Encoder:
    with torch.random.fork_rng(devices=[]):  # PyTorch draws weights for each new layer
        encoder = Encoder(config)
    encoder.load_state_dict(dict(state), strict=True)
    return encoder


def _normalization(path: Path, document: Mapping[str, Any] | None, *, ours: bool) -> str:
    """What a release's document says, or what files of this kind were trained with."""
    found = (document or {}).get("normalization", PER_IMAGE if ours else IMAGENET)
    if found not in NORMALIZATIONS:
        raise CheckpointError(f"{path}: says normalization {str(found)[:40]!r}, unknown here; give `normalization`")
    return str(found)


def _change(before: Tensor, after: Tensor) -> str:
    return f"{tuple(before.shape)} to {tuple(after.shape)}"


def _notes(path: Path, digest: str, *, layout: str, assumed: bool) -> Iterator[str]:
    if digest in KNOWN:
        yield f"the file is {KNOWN[digest]}, by the digest that third parties report"
    elif path.name == USFM_NAME:
        yield f"named {USFM_NAME}, but not the file whose digest third parties report"
    if assumed and layout.startswith("timm-"):
        yield "the file does not say how its input was normalized: ImageNet's statistics are assumed"
