"""CSV and Parquet give the same numbered rows; what is not a table is refused with the remedy."""

import os
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from core.data.problems import RowProblems
from core.data.table import read_rows
from core.errors import DataError


def rows_of(path: Path) -> tuple[list[tuple[int, list[str]]], list[str]]:
    problems = RowProblems()
    return list(read_rows(path, problems)), problems.lines()


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n",
        b"\xef\xbb\xbfa,b\n1,2\n",  # byte order mark, as Excel writes it
        b"a,b\r\n1,2\r\n",
        b"a,b\r1,2\r",
        b" a ,b\n 1, 2",  # blanks, no newline at the end
        b'"a","b"\n"1","2"\n',
    ],
)
def test_the_same_table_in_every_dress(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(content)
    assert rows_of(path) == ([(1, ["a", "b"]), (2, ["1", "2"])], [])


def test_blank_lines_are_passed_over_but_counted(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(b"a,b\n\n,\n1,2\n")
    assert rows_of(path)[0] == [(1, ["a", "b"]), (4, ["1", "2"])]


def test_parquet_is_known_by_its_content_and_nulls_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "m.data"
    parquet.write_table(pyarrow.table({"a": [1, None], "b": ["x", " y "]}), path)
    assert rows_of(path) == ([(1, ["a", "b"]), (2, ["1", "x"]), (3, ["", "y"])], [])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.csv", b"", "empty"),
        ("m.csv", b"\n \n", "empty"),
        ("m.csv", "a,b".encode("utf-16"), "UTF-16"),
        ("m.csv", b"PK\x03\x04rest", "spreadsheet"),
        ("m.csv", b"a,b\nok,ok\nM\xfcller,1\n", "row 3: is not UTF-8"),
        ("m.parquet", b"a,b\n1,2\n", "cannot be read as Parquet"),
        ("m.csv", b"PAR1 and then nothing", "cannot be read as Parquet"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        rows_of(path)


def test_nested_parquet_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    parquet.write_table(pyarrow.table({"a": [{"deep": 1}]}), path)
    with pytest.raises(DataError, match="plain columns"):
        rows_of(path)


@pytest.mark.parametrize("name", ["nothing.csv", "folder", "pipe", "nul\0byte.csv"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError):
        rows_of(tmp_path / name)


def test_damaged_lines_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(b"a,b\n1,\x002\n3,4\n")
    rows, problems = rows_of(path)
    assert rows == [(1, ["a", "b"]), (3, ["3", "4"])]
    assert len(problems) == 1
    assert problems[0].startswith("row 2: holds a NUL byte")


@pytest.mark.parametrize("tail", [b'5,"never closed\n6,7\n', b"5," + b"x" * 200_000 + b"\n"])
def test_broken_quotes_and_endless_cells_name_their_row(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(b"a,b\n1,2\n" + tail)
    _, problems = rows_of(path)
    assert len(problems) == 1
    assert problems[0].startswith("row 3: is not valid CSV")
