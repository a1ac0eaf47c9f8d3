"""One error that names every problem and every row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.problems import RowProblems, name_rows
from core.errors import DataError


@given(st.lists(st.integers(1, 60), min_size=1))
def test_named_rows_are_exactly_the_rows_given(rows: list[int]) -> None:
    spans = [span.split("-") for span in name_rows(rows).split(" ", 1)[1].split(", ")]
    assert {row for span in spans for row in range(int(span[0]), int(span[-1]) + 1)} == set(rows)


def test_runs_are_shortened() -> None:
    assert name_rows([9, 4, 3, 2]) == "rows 2-4, 9"
    assert name_rows([7, 7]) == "row 7"


def test_rows_with_one_problem_share_a_line_and_lines_go_by_first_row() -> None:
    problems = RowProblems()
    problems.add("late", row=5)
    problems.add("early", row=2)
    problems.add("late", row=6)
    problems.add("everywhere")
    with pytest.raises(DataError) as caught:
        problems.raise_if_any("table")
    assert caught.value.problems == ("everywhere", "row 2: early", "rows 5-6: late")


def test_nothing_is_raised_without_problems() -> None:
    problems = RowProblems()
    problems.raise_if_any("table")
    assert not problems
