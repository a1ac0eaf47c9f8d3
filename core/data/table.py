"""Rows of a CSV or Parquet file as text, with the number that a person sees: the header is row 1."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from core.data.problems import RowProblems
from core.errors import DataError

Row = tuple[int, list[str]]

_PARQUET = b"PAR1"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_ZIP = b"PK\x03\x04"


def read_rows(path: Path, problems: RowProblems) -> Iterator[Row]:
    """Yield (row number, cells without surrounding blanks), the header first; blank lines are passed over.

    What is wrong with a single line is added to `problems`, and that line is left out.

    Raises:
        DataError: There is no such file, or it is neither UTF-8 text nor Parquet.
    """
    content = _content(path)
    if content.startswith(_PARQUET) or path.suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    if content.startswith(_UTF16):
        raise DataError(f"{path}: is UTF-16 text; save it again as 'CSV UTF-8'")
    if content.startswith(_ZIP):
        raise DataError(f"{path}: is a spreadsheet or archive, not CSV; export it as 'CSV UTF-8'")
    yield from _csv_rows(_text(path, content), problems)


def _content(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise DataError(f"{path}: is a folder; name the manifest file inside it")
        if not path.exists():
            raise DataError(f"{path}: there is no such manifest; check the path")
        if not path.is_file():
            raise DataError(f"{path}: is not a regular file; name a CSV or Parquet file")
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL inside the path
        raise DataError(f"{path}: cannot be read ({error}); check the path and its permissions") from error
    if not content.strip():
        raise DataError(f"{path}: the file is empty; a manifest needs a header and one row an image")
    return content


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        problems = RowProblems()
        for row, line in enumerate(content.split(b"\n"), start=1):
            try:
                line.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                problems.add(f"is not UTF-8 ({error.reason}); save the file again as 'CSV UTF-8'", row=row)
        problems.raise_if_any(f"manifest {path}")
        raise


def _csv_rows(text: str, problems: RowProblems) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    row = 0
    try:
        for row, line in enumerate(reader, start=1):
            cells = [cell.strip() for cell in line]
            if any("\0" in cell for cell in cells):
                problems.add("holds a NUL byte; the file is damaged, export it again", row=row)
            elif any(cells):
                yield row, cells
    except csv.Error as error:
        problems.add(f"is not valid CSV ({error}); check its quotes, nothing below it was read", row=row + 1)


def _parquet_rows(path: Path) -> Iterator[Row]:
    # Imported here: it takes a third of a second, and most manifests are CSV.
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()
        columns = [column.cast(pyarrow.string()).to_pylist() for column in table.columns]
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet with plain columns ({error}); export it again") from error
    yield 1, [name.strip() for name in table.column_names]
    for row, line in enumerate(zip(*columns, strict=True), start=2):
        yield row, [(cell or "").strip() for cell in line]
