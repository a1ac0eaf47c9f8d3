"""The plan: what a study will do, as one canonical document with a digest.

A hospital approves a digest and runs nothing else. Whatever changes what is computed, who counts how much, or what
leaves the building is in here, so that any change is a new digest: approved again.

A plan is of pretraining, or with `task` of fine-tuning for one downstream task (`core.federation.task_section`). Then

* `counts` are a site's labelled training patients of that task, and the weights their shares, w[k] = n[k] / sum n: the
  head learns from labels alone, so a patient without one says nothing about it, and with this weight every labelled
  patient counts alike, as in the pooled data. A site without a label is in neither; the section names it.
* `tensors` are what is trained: the head, and of the encoder nothing, the last blocks with the norm, or all.
* The encoder to start from travels once, with the plan. A site checks names, shapes, values and its digest, which is in
  the section, keeps it, and puts each round's model on top of it. So what is frozen stays what the site approved,
  whatever the server sends later, and costs no round a byte.

A plan of pretraining has no `task` in its document, so that such plans keep the digests they had.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from core.errors import PlanError
from core.federation.codec import codec_for
from core.federation.tensors import Spec

SCHEMA_VERSION = 2
SLACK = 1e-9
"""What rounding may add to or take from a sum of shares."""
LOCAL_STATES = ("kept", "reset")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One study. Nested sections are plain JSON values; the packages that own them check them when they are built."""

    study: str
    seed: int
    """Public seed: initialization, augmentation, masks, non-private sampling."""
    code_version: str
    environment: dict[str, Any]
    """torch version and threads: with the seed, what fixes every bit."""
    rounds: int
    local_steps: int
    """H, optimizer steps a round at each site."""
    encoder: dict[str, Any]
    objective: dict[str, Any]
    augmentation: dict[str, Any]
    training: dict[str, Any]
    weighting: str
    """organ_aware or fedavg."""
    totals: dict[str, int]
    unused: dict[str, int]
    mix: dict[str, float]
    counts: dict[str, dict[str, int]]
    weights: dict[str, float]
    draws: dict[str, dict[str, float]]
    local_state: str
    """A site's AdamW moments at the start of a round: `kept` from its last folded one, or `reset` to none."""
    server: dict[str, Any]
    """Server optimizer and its rates."""
    codec: str
    norm_bound: float
    """L2 bound on one site's difference a round, in parameter units."""
    min_sites: int
    """A round with fewer updates does not close."""
    tensors: Spec
    """Names and shapes that travel, all float32 on the way down."""
    task: dict[str, Any] | None = None
    """`core.federation.task_section.TaskSection`; None for pretraining."""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Check what can be checked here; raises PlanError with every problem."""
        found = []
        if self.schema_version != SCHEMA_VERSION:
            found.append(_other_version(self.schema_version))
        if any(type(n) is not int or n < 1 for n in (self.rounds, self.local_steps)):
            found.append(f"rounds {self.rounds} and local_steps {self.local_steps} must be at least 1")
        if not 1 <= self.min_sites <= max(1, len(self.weights)):
            found.append(f"min_sites {self.min_sites} must lie between 1 and the {len(self.weights)} sites of the plan")
        found += self._share_problems()
        if set(self.weights) != set(self.draws) or set(self.weights) != set(self.counts):
            found.append("weights, draws and counts name different sites")
        if not 0 < self.norm_bound < math.inf:
            found.append(f"norm_bound {self.norm_bound} must be positive and finite")
        if self.local_state not in LOCAL_STATES:
            found.append(f"local_state must be one of {', '.join(LOCAL_STATES)}, got {self.local_state!r}")
        try:
            codec_for(self.codec)
        except PlanError as error:
            found.extend(error.problems)
        if found:
            raise PlanError(found, title="plan")

    def _share_problems(self) -> Iterator[str]:
        shares = {"weights": self.weights, "mix": self.mix} | {f"draws of {s}": own for s, own in self.draws.items()}
        for name, values in shares.items():
            if not all(0 < value <= 1 + SLACK for value in values.values()):
                yield f"{name}: {values} must all lie in (0, 1]"
            elif abs(sum(values.values()) - 1.0) > SLACK:
                yield f"{name} sum to {sum(values.values())}, not to 1"

    @cached_property
    def document(self) -> str:
        """Canonical JSON: sorted keys, no spaces, no NaN; without `task` where there is none."""
        values = asdict(self)
        if self.task is None:
            del values["task"]
        return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical document."""
        return hashlib.sha256(self.document.encode()).hexdigest()


def _other_version(version: object) -> str:
    return f"schema version {str(version)[:20]} is not {SCHEMA_VERSION}; upgrade the older side"


def plan_from(document: str) -> Plan:
    """Read a canonical document; raises PlanError when it is no plan of this schema."""
    try:
        values: Mapping[str, Any] = json.loads(document)
        known = {item.name for item in fields(Plan)}
        version = values.get("schema_version", SCHEMA_VERSION) if isinstance(values, dict) else SCHEMA_VERSION
        if version != SCHEMA_VERSION:
            raise PlanError(f"plan: {_other_version(version)}")
        expected = known if isinstance(values, dict) and "task" in values else known - {"task"}
        if not isinstance(values, dict) or set(values) != expected:
            odd = sorted(set(values) ^ expected)[:5] if isinstance(values, dict) else []
            raise PlanError(f"plan: fields missing or unknown: {', '.join(odd)}; client and server versions differ")
        shapes = {name: tuple(int(n) for n in shape) for name, shape in values["tensors"].items()}
        return Plan(**{**values, "tensors": shapes})
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise PlanError(f"plan: not a plan of schema {SCHEMA_VERSION} ({error})") from error
