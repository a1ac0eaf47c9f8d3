"""One signed history for every hospital: a second version of a round, or a rewritten past, is refused."""

import json
from typing import Any

import pytest

from core.errors import SecurityError
from core.security.audit_proof import Countersigned
from core.security.audit_record import Head
from core.security.keys import make_signing_key
from core.security.receipts import (
    accept_receipt,
    contradiction,
    countersigned,
    line_digest,
    read_receipt,
    sign_receipt,
)
from server.state import receipt_line

KEY = make_signing_key()
PLAN, BASE = "1" * 64, "0" * 64


def line(number: int, before: str = "", **changes: Any) -> str:
    fields = {
        "schema_version": 1, "study": "heart", "plan": PLAN, "round": number, "model_hash": f"{number:064x}",
        "contributors": {"north": {"weight": 0.25}}, "heads": {"north": {"audit": [number + 1, f"{number:064x}"]}},
    }  # fmt: skip
    return receipt_line(fields | changes, previous=before)


FIRST = line(0)
SECOND = line(1, FIRST)
THIRD = line(2, SECOND)


def accept(text: str, *known: str, record: bytes | None = None, **changes: Any) -> dict[str, Any]:
    record = sign_receipt(text, base=BASE, key=KEY) if record is None else record
    arguments = {"study": "heart", "plan": PLAN, "keys": [KEY.public_key()]} | changes
    return accept_receipt(text, record, known=known, **arguments)


def test_a_chain_is_accepted_line_by_line() -> None:
    assert accept(FIRST)["round"] == 0
    assert accept(SECOND, FIRST)["model_hash"] == f"{1:064x}"
    assert accept(THIRD, FIRST, SECOND) == json.loads(THIRD)


def test_a_repeated_receipt_and_one_after_a_gap_are_accepted() -> None:
    assert accept(SECOND, FIRST, SECOND)["round"] == 1
    assert accept(THIRD, FIRST)["round"] == 2  # this site missed a round
    assert accept(SECOND, FIRST, THIRD)["round"] == 1  # and gets it later


def test_a_second_result_of_a_round_is_refused_though_it_is_signed() -> None:
    other = line(1, FIRST, model_hash="9" * 64)
    with pytest.raises(SecurityError, match="receipt of round 1: another one was signed for this round before"):
        accept(other, FIRST, SECOND)


def test_a_rewritten_past_is_refused_though_it_is_signed() -> None:
    other = line(0, model_hash="9" * 64)
    with pytest.raises(SecurityError, match="receipt of round 1: does not fit that of round 0, accepted here before"):
        accept(line(1, other), FIRST)
    with pytest.raises(SecurityError, match="receipt of round 0: does not fit that of round 1"):
        accept(other, SECOND)


def test_a_history_begins_with_round_0() -> None:
    for text in (line(3), line(0, FIRST)):
        with pytest.raises(SecurityError, match="only that of round 0 follows none; history was cut"):
            accept(text)


def test_a_receipt_of_another_study_or_plan_or_by_another_key_is_refused() -> None:
    with pytest.raises(SecurityError, match="receipt: signed for study 'heart', but this is study 'lung'"):
        accept(FIRST, study="lung")
    with pytest.raises(SecurityError, match="receipt: signed for plan"):
        accept(FIRST, plan="9" * 64)
    with pytest.raises(SecurityError, match="the signature is not by a key certified"):
        accept(FIRST, keys=[make_signing_key().public_key()])


def test_an_edited_line_does_not_fit_its_record() -> None:
    record = sign_receipt(SECOND, base=BASE, key=KEY)
    edited = line(1, FIRST, contributors={})
    with pytest.raises(SecurityError, match=r"receipt: signed for receipt .*, but this is receipt"):
        accept(edited, record=record)
    with pytest.raises(SecurityError, match=r"signed for receipt .*") as caught:
        accept(THIRD, record=record)
    assert len(caught.value.problems) == 2  # the line and the round


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "junk", "{}", FIRST + "\n", FIRST.replace(":", ": ", 1), "{" * 100_000, "x" * 2**21,
        line(0, study=5), line(0, plan="x"), line(0, round=-1), line(0, round=True), line(0, model_hash=""),
        line(0, heads=[]), line(0, heads={"north": {"audit": [1]}}), line(0, heads={"north": 5}),
    ],
)  # fmt: skip
def test_what_is_no_receipt_is_a_sentence(text: str) -> None:
    with pytest.raises(SecurityError, match="receipt: "):
        read_receipt(text)


def test_a_receipt_without_heads_is_one_of_an_older_server() -> None:
    fields = {"study": "heart", "plan": PLAN, "round": 0, "model_hash": "0" * 64}
    assert countersigned([receipt_line(fields, previous="")], site="north") == []


def test_two_hospitals_find_that_they_were_shown_two_results() -> None:
    other = line(1, FIRST, model_hash="9" * 64)
    assert contradiction([FIRST, SECOND], [FIRST, SECOND, THIRD]) == ""
    found = contradiction([FIRST, SECOND], [FIRST, other])
    assert f"round 1 has two receipts: {line_digest(SECOND)[:12]} and {line_digest(other)[:12]}" in found
    assert "signed both" in found


def test_the_heads_of_a_sites_logs_are_in_the_receipts() -> None:
    assert countersigned([FIRST, SECOND], site="north") == [
        Countersigned(round=0, head=Head(1, f"{0:064x}")),
        Countersigned(round=1, head=Head(2, f"{1:064x}")),
    ]
    assert countersigned([FIRST], site="south") == []
    assert countersigned([FIRST], site="north", log="ledger") == []
