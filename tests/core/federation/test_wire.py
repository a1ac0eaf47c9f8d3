"""The wire: what was sent comes back; what is hostile is one named error, and costs no memory."""

import contextlib
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PlanError, UpdateRejected
from core.federation import wire
from core.federation.tensors import digest_of
from core.federation.update import Folded, Instruction, Skipped, Update

ARRAYS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array(1.5, np.float32),
    "c": np.zeros(0, np.float32),
}
UPDATE = Update(
    site="h1", plan_digest="p", round=3, base_digest="d", arrays=ARRAYS, metrics={"loss": 0.5, "images": 8.0}
)


def npy(value: np.ndarray, **options: Any) -> bytes:
    """A NumPy file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, value, **options)
    return stream.getvalue()


def update_with(**records: Any) -> RecordDict:
    """The records of `UPDATE` with some replaced."""
    return RecordDict({**wire.answer_to_records(UPDATE), **records})


def update_with_array(data: bytes, *, storage: str = "numpy.ndarray") -> RecordDict:
    return update_with(update=ArrayRecord({"a": Array("float32", (2,), storage, data)}))


def header_with(**fields: Any) -> ConfigRecord:
    return ConfigRecord({**wire.answer_to_records(UPDATE).config_records["header"], **fields})


def test_an_update_comes_back() -> None:
    back = wire.answer_from_records(wire.answer_to_records(UPDATE))
    assert isinstance(back, Update)
    assert (back.site, back.plan_digest, back.round, back.base_digest, back.metrics) == (
        "h1",
        "p",
        3,
        "d",
        UPDATE.metrics,
    )
    assert digest_of(back.arrays) == digest_of(ARRAYS)
    assert back.arrays["a"].shape == ()


@given(st.binary(min_size=8, max_size=8))
def test_every_bit_pattern_survives_in_both_types(content: bytes) -> None:
    arrays = {"f": np.frombuffer(content, np.float32), "u": np.frombuffer(content, np.uint16)}
    update = Update(site="h", plan_digest="p", round=0, base_digest="d", arrays=arrays)
    back = wire.answer_from_records(wire.answer_to_records(update))
    assert isinstance(back, Update)
    assert {name: value.tobytes() for name, value in back.arrays.items()} == {"f": content, "u": content}
    assert [value.dtype for value in back.arrays.values()] == [np.float32, np.uint16]


@pytest.mark.parametrize("folded", [None, Folded(round=0, digest="x"), Folded(round=7, digest="")])
def test_an_instruction_comes_back(folded: Folded | None) -> None:
    sent = Instruction(plan_digest="p", round=8, base=ARRAYS, folded=folded, receipt='{"round":7}')
    back = wire.instruction_from_records(wire.instruction_to_records(sent))
    assert (back.plan_digest, back.round, back.folded, back.receipt) == ("p", 8, folded, '{"round":7}')
    assert digest_of(back.base) == digest_of(ARRAYS)


def test_a_skip_comes_back_with_its_reason_cut() -> None:
    sent = Skipped(site="h1", round=2, reason="x" * 5000)
    assert wire.answer_from_records(wire.answer_to_records(sent)) == Skipped(site="h1", round=2, reason="x" * 200)


def test_arrays_with_strides_are_sent_as_they_look() -> None:
    update = Update(site="h", plan_digest="p", round=0, base_digest="d", arrays={"a": ARRAYS["b"].T})
    back = wire.answer_from_records(wire.answer_to_records(update))
    assert isinstance(back, Update)
    np.testing.assert_array_equal(back.arrays["a"], ARRAYS["b"].T)


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        (RecordDict(), "header"),
        (update_with(header=ConfigRecord()), "kind"),
        (update_with(header=header_with(round="3")), "field round is str, not int"),
        (update_with(header=header_with(round=True)), "field round is bool, not int"),
        (update_with(header=header_with(round=3.0)), "field round is float, not int"),
        (update_with(header=header_with(site=b"h1")), "field site is bytes, not str"),
        (update_with(header=header_with(base=["d"])), "field base is list, not str"),
        (update_with(metrics=MetricRecord({"loss": [1.0]})), "is no number"),
        (update_with(metrics=ConfigRecord({"loss": 1.0})), "metrics"),
        (RecordDict({"header": header_with()}), "metrics"),
        (update_with(update=MetricRecord()), "update"),
    ],
)
def test_a_malformed_update_is_refused_with_the_field_named(records: RecordDict, reason: str) -> None:
    with pytest.raises(UpdateRejected, match="the reply is malformed") as caught:
        wire.answer_from_records(records)
    assert reason in str(caught.value)


def test_a_whole_number_is_a_metric() -> None:
    back = wire.answer_from_records(update_with(metrics=MetricRecord({"images": 64})))
    assert isinstance(back, Update)
    assert back.metrics == {"images": 64.0}


def test_a_number_beyond_floats_is_refused() -> None:
    with pytest.raises(UpdateRejected, match="malformed"):
        wire.answer_from_records(update_with(metrics=MetricRecord({"images": 10**400})))


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    data = npy(np.array([Bomb(tmp_path / "opened")], dtype=object), allow_pickle=True)
    with pytest.raises(UpdateRejected, match="no plain array of numbers"):
        wire.answer_from_records(update_with_array(data))
    assert not (tmp_path / "opened").exists()


def claiming(shape: str, *, descr: str = "<f4", fortran: bool = False) -> bytes:
    """A NumPy file of eight bytes that says it is something else."""
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(8)


def test_the_forged_header_is_read_as_numpy_reads_it() -> None:
    back = wire.answer_from_records(update_with_array(claiming("(2,)")))
    assert isinstance(back, Update)
    np.testing.assert_array_equal(back.arrays["a"], np.zeros(2, np.float32))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x09\x00" + claiming("(2,)")[8:],
        b"\x93NUMPY\x02\x00" + claiming("(2,)")[8:],
        claiming("(1000000000000,)"),
        claiming("(4611686018427387904, 4)"),
        claiming("(3,)"),
        claiming("(1,)"),
        claiming("(-2,)"),
        claiming("(-1, -2)"),
        claiming("(2.0,)"),
        claiming("2"),
        claiming("(2,)", descr="|O"),
        claiming("(2,)", descr="|S4"),
        claiming("(2,)", descr="<c8"),
        claiming("(1000,)", descr="|V0"),
        claiming("(2,)", descr="nonsense"),
        claiming("(2, 1)", fortran=True),
        claiming("(__import__('os').abort(),)"),
        claiming("(2,)") + b"more",
    ],
)
def test_forged_arrays_are_refused_before_any_memory_is_taken(data: bytes) -> None:
    with pytest.raises(UpdateRejected, match="the reply is malformed"):
        wire.answer_from_records(update_with_array(data))


def test_another_storage_is_refused() -> None:
    with pytest.raises(UpdateRejected, match=r"an array is stored as 'torch\.tensor'"):
        wire.answer_from_records(update_with_array(npy(np.zeros(2, np.float32)), storage="torch.tensor"))


@given(start=st.integers(0, 127), noise=st.binary(max_size=40))
def test_no_bytes_get_anything_but_an_array_or_a_refusal(start: int, noise: bytes) -> None:
    data = claiming("(2,)")[:start] + noise
    with contextlib.suppress(UpdateRejected):
        assert isinstance(wire.answer_from_records(update_with_array(data)), Update)


@pytest.mark.parametrize(
    ("name", "records"),
    [
        ("header", RecordDict()),
        (
            "round",
            RecordDict(
                {"header": ConfigRecord({"plan": "p", "round": "0", "folded-round": -1}), "base": ArrayRecord()}
            ),
        ),
        ("header", RecordDict({"base": ArrayRecord({"a": Array("float32", (2,), "numpy.ndarray", b"junk")})})),
    ],
)
def test_a_malformed_instruction_is_a_plan_error(name: str, records: RecordDict) -> None:
    with pytest.raises(PlanError, match=f"instruction: .*{name}"):
        wire.instruction_from_records(records)


def test_a_forged_array_in_an_instruction_is_a_plan_error() -> None:
    sent = wire.instruction_to_records(Instruction(plan_digest="p", round=0, base=ARRAYS, folded=None))
    forged = ArrayRecord({"a": Array("float32", (2,), "numpy.ndarray", claiming("(1000000000000,)"))})
    with pytest.raises(PlanError, match="another size than its header says"):
        wire.instruction_from_records(RecordDict({**sent, "base": forged}))


def test_counts_come_back_sorted() -> None:
    records = wire.counts_to_records("site_1.a-B", {"liver": 3, "breast": 0})
    assert wire.counts_from_records(records) == ("site_1.a-B", {"breast": 0, "liver": 3})


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../h1",
        "a/b",
        "a\\b",
        "-rf",
        " h1",
        "h1\n",
        "a\x00",
        "h\u00e9",
        "[red]x",
        "x" * 65,
        "a\x1fb",
        "a;b",
    ],
)
def test_a_hostile_site_name_is_refused(name: str) -> None:
    with pytest.raises(UpdateRejected, match="site name"):
        wire.counts_from_records(wire.counts_to_records(name, {"liver": 1}))


@pytest.mark.parametrize("patients", [-1, 100_000_001, 2**62, 10**30, 1.5, 3.0, float("nan"), float("inf")])
def test_no_count_of_patients_is_refused(patients: Any) -> None:
    with pytest.raises(UpdateRejected, match="is no count"):
        wire.counts_from_records(wire.counts_to_records("h1", {"liver": patients}))


@pytest.mark.parametrize(
    "records",
    [
        RecordDict(),
        RecordDict({"site": ConfigRecord({"name": 3}), "patients": MetricRecord({})}),
        RecordDict({"site": ConfigRecord({"name": "h1"})}),
        RecordDict({"site": ConfigRecord({"name": "h1"}), "patients": ConfigRecord({"liver": True})}),
        RecordDict({"site": ConfigRecord({"name": "h1"}), "patients": MetricRecord({"liver": [1, 2]})}),
    ],
)
def test_malformed_counts_are_refused(records: RecordDict) -> None:
    with pytest.raises(UpdateRejected, match="the counts are malformed"):
        wire.counts_from_records(records)


def test_a_plan_comes_back() -> None:
    assert wire.plan_from_records(wire.plan_to_records('{"a":1}')) == '{"a":1}'


@pytest.mark.parametrize("records", [RecordDict(), RecordDict({"plan": ConfigRecord({"document": b"{}"})})])
def test_a_malformed_plan_message_is_a_plan_error(records: RecordDict) -> None:
    with pytest.raises(PlanError, match="the plan message is malformed"):
        wire.plan_from_records(records)


def test_an_approval_comes_back() -> None:
    for approved in (True, False):
        records = wire.approval_to_records(approved=approved, reason="why")
        assert wire.approval_from_records(records) == (approved, "why")


@pytest.mark.parametrize("approved", [1, "yes", 1.0, [True]])
def test_only_true_is_an_approval(approved: Any) -> None:
    records = RecordDict({"approval": ConfigRecord({"approved": approved, "reason": ""})})
    assert wire.approval_from_records(records) == (False, "the answer to the plan is malformed")
    assert wire.approval_from_records(RecordDict()) == (False, "the answer to the plan is malformed")


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int8])
def test_an_array_is_stored_as_flower_itself_stores_it(shape: tuple[int, ...], dtype: type) -> None:
    value = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    assert wire.arrays_to_record({"a": value})["a"] == Array(value)


def test_a_plan_and_the_encoder_it_starts_from_come_back() -> None:
    records = wire.plan_to_records("{}", start={"a": ARRAYS["a"], "b": ARRAYS["b"]})
    assert wire.plan_from_records(records) == "{}"
    assert digest_of(wire.start_from_records(records)) == digest_of({"a": ARRAYS["a"], "b": ARRAYS["b"]})
    assert wire.start_from_records(wire.plan_to_records("{}")) == {}


def test_a_malformed_encoder_is_a_plan_error() -> None:
    records = wire.plan_to_records("{}")
    records["start"] = ArrayRecord({"a": Array("float32", (2,), "numpy.ndarray", b"nothing")})
    with pytest.raises(PlanError, match="the encoder that came with the plan is malformed"):
        wire.start_from_records(records)


def test_a_question_for_labels_comes_back_or_is_a_plan_error() -> None:
    assert wire.task_from_records(wire.task_to_records('{"name":"t"}')) == '{"name":"t"}'
    for records in (RecordDict(), RecordDict({"task": ConfigRecord({"document": 3})})):
        with pytest.raises(PlanError, match="the question for labels is malformed"):
            wire.task_from_records(records)
