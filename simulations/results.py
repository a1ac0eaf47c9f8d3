"""What an arm leaves in its folder: a model, and a small document of what it took and how it scored."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.errors import CheckpointError
from core.evaluation.held_out import PatientLosses
from core.federation.tensors import Tensors
from core.files import load_tensors, save_tensors

SCHEMA_VERSION = 1
Curve = list[tuple[int, float]]
"""(images seen so far, mean training loss of the segment that ended there)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """An arm after training."""

    model: Tensors
    images: int = 0
    seconds: float = 0.0
    curve: Curve = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """An arm's scores."""

    test: PatientLosses
    validation: PatientLosses
    tasks: dict[str, dict[str, dict[str, Any]]]
    """Task to probe (linear, knn, frozen, finetune_<patients>) to mean, low, high, reason, ..., by_patient."""


Results = dict[str, tuple[Trained, Scored]]
"""Arms that were trained with one seed, by name; a hospital alone is `local:<hospital>`."""
BySeed = dict[int, Results]
"""The same for each training seed, in the order of the configuration."""


def save_result(folder: Path, trained: Trained, scored: Scored) -> None:
    """Write `arm.safetensors`, whole or not at all; an arm that has one is finished."""
    meta = {
        "schema_version": SCHEMA_VERSION,
        "images": trained.images,
        "seconds": trained.seconds,
        "curve": trained.curve,
        "scored": asdict(scored),
    }
    save_tensors(folder / "arm.safetensors", trained.model, meta=meta)


def load_result(folder: Path) -> tuple[Trained, Scored] | None:
    """What `save_result` wrote, or None; raises CheckpointError when it is damaged."""
    path = folder / "arm.safetensors"
    if not path.exists():
        return None
    model, meta = load_tensors(path, schema=SCHEMA_VERSION)
    try:
        losses = {
            split: {key: (str(organ), float(loss)) for key, (organ, loss) in meta["scored"][split].items()}
            for split in ("test", "validation")
        }
        scored = Scored(test=losses["test"], validation=losses["validation"], tasks=meta["scored"]["tasks"])
        curve = [(int(images), float(loss)) for images, loss in meta["curve"]]
        trained = Trained(model=model, images=int(meta["images"]), seconds=float(meta["seconds"]), curve=curve)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: its document is incomplete ({error}); remove it to train this arm again"
        ) from error
    return trained, scored
