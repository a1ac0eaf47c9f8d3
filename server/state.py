"""The state of a study between two rounds, and its file.

A round is `state, replies -> state`; resuming is loading the state. Everything that the next round depends on is here.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from core.errors import CheckpointError
from core.federation.tensors import Tensors, digest_of
from core.federation.update import Folded
from core.files import append_line, load_tensors, save_tensors

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerState:
    """What a study knows after `round` closed rounds."""

    round: int
    """The next round to run, from 0."""
    model: Tensors
    """Global parameters, float32."""
    moments: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    """Server optimizer state, float64, named `m/<tensor>` and `v/<tensor>`."""
    folded: dict[str, Folded] = field(default_factory=dict)
    """The last update of each site that was folded."""
    refusals: dict[str, int] = field(default_factory=dict)
    """Refusals running, by site."""
    quarantined: dict[str, str] = field(default_factory=dict)
    """Sites that are not asked until a person has looked, with the reason."""
    receipt: str = ""
    """The last closed round's receipt, one JSON line."""
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0
    """Training time that the folded updates report, over all sites; no part of a receipt, which a repeat must equal."""

    @property
    def digest(self) -> str:
        """Digest of the global model."""
        return digest_of(self.model)


class Store:
    """One study's folder: `state.safetensors` (replaced each round), `receipts.jsonl` (append-only), `plan.json`."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, made at the first write."""
        self.folder = folder
        self.state_path = folder / "state.safetensors"
        self.receipts_path = folder / "receipts.jsonl"

    def save(self, state: ServerState, *, plan_digest: str) -> None:
        """Write the state atomically, then append its receipt; a kill between the two is mended by `load`."""
        tensors = {f"model/{name}": value for name, value in state.model.items()}
        tensors |= {f"moments/{name}": value for name, value in state.moments.items()}
        meta = {
            "schema_version": SCHEMA_VERSION,
            "plan": plan_digest,
            "round": state.round,
            "folded": {site: [item.round, item.digest] for site, item in state.folded.items()},
            "refusals": state.refusals,
            "quarantined": state.quarantined,
            "receipt": state.receipt,
            "bytes": [state.bytes_up, state.bytes_down],
            "seconds": state.seconds,
        }
        save_tensors(self.state_path, tensors, meta=meta)
        append_line(self.receipts_path, state.receipt)

    def load(self, *, plan_digest: str) -> ServerState | None:
        """The saved state, or None when there is none; raises CheckpointError when it is of another plan."""
        if not self.state_path.exists():
            return None
        tensors, meta = load_tensors(self.state_path, schema=SCHEMA_VERSION)
        if meta.get("plan") != plan_digest:
            raise CheckpointError(
                f"{self.state_path}: belongs to plan {str(meta.get('plan'))[:12]}, this run's plan is "
                f"{plan_digest[:12]}; resume with the same configuration, code and data, or start a new run"
            )
        groups: dict[str, dict[str, Any]] = {"model": {}, "moments": {}}
        for name, value in tensors.items():
            group, rest = name.split("/", 1)
            groups[group][rest] = value
        state = ServerState(
            round=int(meta["round"]),
            model=groups["model"],
            moments=groups["moments"],
            folded={site: Folded(round=number, digest=digest) for site, (number, digest) in meta["folded"].items()},
            refusals=meta["refusals"],
            quarantined=meta["quarantined"],
            receipt=meta["receipt"],
            bytes_up=meta["bytes"][0],
            bytes_down=meta["bytes"][1],
            seconds=meta["seconds"],
        )
        append_line(self.receipts_path, state.receipt)
        return state

    def receipts(self) -> list[dict[str, Any]]:
        """Every closed round's receipt; raises CheckpointError when a line is damaged or missing."""
        if not self.receipts_path.exists():
            return []
        found: list[dict[str, Any]] = []
        previous = ""
        for number, line in enumerate(self.receipts_path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                receipt = json.loads(line)
            except ValueError as error:
                raise CheckpointError(f"{self.receipts_path}: line {number} is no receipt ({error})") from error
            if not isinstance(receipt, dict) or receipt.get("previous") != _link(previous):
                raise CheckpointError(f"{self.receipts_path}: line {number} does not follow from the line before it")
            found.append(receipt)
            previous = line
        return found


def receipt_line(fields: dict[str, Any], *, previous: str) -> str:
    """A receipt as one canonical JSON line, chained to the previous one by its SHA-256."""
    chained = {**fields, "previous": _link(previous)}
    return json.dumps(chained, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _link(previous: str) -> str:
    return hashlib.sha256(previous.encode()).hexdigest() if previous else ""
