"""Instructions, updates, counts and plans as Flower records, and back with every field checked.

The only module of `core` that imports Flower. What comes off the wire is hostile until it leaves here: a field that is
missing, of another type or too long is an UpdateRejected (server side) or a PlanError (site side) that names it.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from core.errors import PlanError, UpdateRejected
from core.federation.update import Folded, Instruction, Skipped, Update
from core.security.names import SITE_NAME

COUNTS = "query.counts"
"""Message type: which organs, how many patients?"""
LABELS = "query.labels"
"""Message type: how many patients with a label of this task?"""
PLAN = "query.plan"
"""Message type: do you approve this plan?"""
TRAIN = "train.round"
"""Message type: train one round."""

MAX_PATIENTS = 100_000_000
LONGEST_HEADER = 4096
"""Bytes of an NPY header; an honest one has 128."""
NUMPY_STORAGE = "numpy.ndarray"
"""Flower's word for the NPY format."""

_T = TypeVar("_T", str, int, bool)


def instruction_to_records(instruction: Instruction, *, base: ArrayRecord | None = None) -> RecordDict:
    """An instruction as records; `base` is its model if that was encoded before, for another site."""
    folded = instruction.folded
    header = ConfigRecord(
        {
            "plan": instruction.plan_digest,
            "round": instruction.round,
            "folded-round": folded.round if folded else -1,
            "folded-digest": folded.digest if folded else "",
            "receipt": instruction.receipt,
        }
    )
    return RecordDict({"header": header, "base": base or arrays_to_record(instruction.base)})


def instruction_from_records(records: RecordDict) -> Instruction:
    """An instruction from records; raises PlanError."""
    try:
        header = dict(records.config_records["header"])
        folded_round = _typed(header, "folded-round", int)
        return Instruction(
            plan_digest=_typed(header, "plan", str),
            round=_typed(header, "round", int),
            base={name: value.astype(np.float32, copy=False) for name, value in _arrays(records, "base").items()},
            folded=Folded(round=folded_round, digest=_typed(header, "folded-digest", str))
            if folded_round >= 0
            else None,
            receipt=_typed(header, "receipt", str),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(f"instruction: {error}; client and server versions differ") from error


def answer_to_records(answer: Update | Skipped) -> RecordDict:
    """A site's answer as records."""
    if isinstance(answer, Skipped):
        skipped = ConfigRecord({"kind": "skipped", "site": answer.site, "round": answer.round, "reason": answer.reason})
        return RecordDict({"header": skipped})
    header = ConfigRecord(
        {
            "kind": "update",
            "site": answer.site,
            "round": answer.round,
            "plan": answer.plan_digest,
            "base": answer.base_digest,
        }
    )
    metrics = MetricRecord({name: float(value) for name, value in answer.metrics.items()})
    return RecordDict({"header": header, "update": arrays_to_record(answer.arrays), "metrics": metrics})


def answer_from_records(records: RecordDict) -> Update | Skipped:
    """A site's answer from records; raises UpdateRejected."""
    try:
        header = dict(records.config_records["header"])
        if _typed(header, "kind", str) == "skipped":
            reason = _typed(header, "reason", str)[:200]
            return Skipped(site=_typed(header, "site", str), round=_typed(header, "round", int), reason=reason)
        metrics = {name: float(_number(value)) for name, value in records.metric_records["metrics"].items()}
        return Update(
            site=_typed(header, "site", str),
            plan_digest=_typed(header, "plan", str),
            round=_typed(header, "round", int),
            base_digest=_typed(header, "base", str),
            arrays=_arrays(records, "update"),
            metrics=metrics,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UpdateRejected(f"the reply is malformed ({error}); upgrade the client") from error


def counts_to_records(site: str, counts: Mapping[str, int]) -> RecordDict:
    """A hospital's disclosed patients by organ."""
    return RecordDict({"site": ConfigRecord({"name": site}), "patients": MetricRecord(dict(counts))})


def counts_from_records(records: RecordDict) -> tuple[str, dict[str, int]]:
    """Site name and counts; raises UpdateRejected when a name or a number is not plausible."""
    try:
        site = _typed(dict(records.config_records["site"]), "name", str)
        counts = {organ: _number(value) for organ, value in records.metric_records["patients"].items()}
    except (KeyError, TypeError, ValueError) as error:
        raise UpdateRejected(f"the counts are malformed ({error}); upgrade the client") from error
    if not SITE_NAME.fullmatch(site):
        raise UpdateRejected(f"site name {site[:80]!r} is not 1 to 64 letters, digits, dots, dashes or underscores")
    for organ, patients in counts.items():
        if not isinstance(patients, int) or not 0 <= patients <= MAX_PATIENTS:
            raise UpdateRejected(f"site {site}: {patients!r} patients with {organ!r} is no count")
    return site, {organ: int(patients) for organ, patients in sorted(counts.items())}


def task_to_records(document: str) -> RecordDict:
    """A task whose labelled patients are asked for."""
    return RecordDict({"task": ConfigRecord({"document": document})})


def task_from_records(records: RecordDict) -> str:
    """The task's document; raises PlanError."""
    try:
        return _typed(dict(records.config_records["task"]), "document", str)
    except (KeyError, TypeError) as error:
        raise PlanError(f"the question for labels is malformed ({error})") from error


def plan_to_records(document: str, *, start: Mapping[str, npt.NDArray[np.float32]] | None = None) -> RecordDict:
    """A plan's canonical document, and for fine-tuning the encoder that it starts from."""
    plan = ConfigRecord({"document": document})
    return RecordDict({"plan": plan, "start": arrays_to_record(start)} if start else {"plan": plan})


def plan_from_records(records: RecordDict) -> str:
    """The document; raises PlanError."""
    try:
        return _typed(dict(records.config_records["plan"]), "document", str)
    except (KeyError, TypeError) as error:
        raise PlanError(f"the plan message is malformed ({error})") from error


def start_from_records(records: RecordDict) -> dict[str, npt.NDArray[np.float32]]:
    """The encoder that came with a plan, empty where none did; raises PlanError."""
    try:
        sent = _arrays(records, "start") if "start" in records.array_records else {}
        return {name: value.astype(np.float32, copy=False) for name, value in sent.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(f"the encoder that came with the plan is malformed ({error})") from error


def approval_to_records(*, approved: bool, reason: str) -> RecordDict:
    """A site's answer to a plan."""
    return RecordDict({"approval": ConfigRecord({"approved": approved, "reason": reason})})


def approval_from_records(records: RecordDict) -> tuple[bool, str]:
    """Approved or not, and why; a malformed answer is a refusal."""
    try:
        header = dict(records.config_records["approval"])
        return _typed(header, "approved", bool), _typed(header, "reason", str)[:500]
    except (KeyError, TypeError):
        return False, "the answer to the plan is malformed"


def _typed(header: Mapping[str, Any], name: str, kind: type[_T]) -> _T:
    value = header[name]
    if type(value) is not kind:
        raise TypeError(f"field {name} is {type(value).__name__}, not {kind.__name__}")
    return value


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value


def arrays_to_record(arrays: Mapping[str, npt.NDArray[Any]]) -> ArrayRecord:
    """Named arrays as a record."""
    return ArrayRecord({name: _stored(np.asarray(arrays[name], order="C")) for name in sorted(arrays)})


def _stored(value: npt.NDArray[Any]) -> Array:
    """What Flower's `Array(value)` is, with one copy of the values in place of three."""
    header = _header_of(value.dtype.str, value.shape)
    data = b"".join((header, value.reshape(-1).view(np.uint8).data))
    return Array(dtype=str(value.dtype), shape=value.shape, stype=NUMPY_STORAGE, data=data)


@lru_cache(maxsize=4096)
def _header_of(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The NPY header, magic word included."""
    stream = BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def _arrays(records: RecordDict, name: str) -> dict[str, npt.NDArray[Any]]:
    return {key: _array(array) for key, array in records.array_records[name].items()}


def _array(array: Array) -> npt.NDArray[Any]:
    """The values, as a read-only view of the message; ValueError when the bytes are no plain array of their size.

    Flower's own `Array.numpy` allocates what a hostile header asks for, and lets several kinds of error out.
    """
    if array.stype != NUMPY_STORAGE:
        raise ValueError(f"an array is stored as {array.stype[:40]!r}, not as {NUMPY_STORAGE}")
    start = array.data[:LONGEST_HEADER]
    end = 10 + int.from_bytes(start[8:10], "little")
    shape, dtype = _header(start[:end])
    if len(array.data) - end != math.prod(shape) * dtype.itemsize:
        raise ValueError("an array has another size than its header says")
    return np.frombuffer(array.data, dtype=dtype, offset=end).reshape(shape)


@lru_cache(maxsize=4096)
def _header(content: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an NPY header; kept, since the same few hundred come with every message."""
    stream = BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # NumPy promises no kind of error for a header that is hostile
        raise ValueError(f"an array's header cannot be read ({type(error).__name__})") from error
    if version != (1, 0) or fortran or dtype.kind not in "fiu" or any(length < 0 for length in shape):
        raise ValueError(f"an array of type {dtype.str[:20]} is no plain array of numbers")
    return shape, dtype
