"""Problems of a table, gathered so that one error names them all with their rows."""

from collections.abc import Sequence

from core.errors import DataError


def name_rows(rows: Sequence[int]) -> str:
    """`row 3`, or `rows 2-5, 9`: every row is named, runs are shortened."""
    runs: list[list[int]] = []
    for row in sorted(set(rows)):
        if runs and row == runs[-1][1] + 1:
            runs[-1][1] = row
        else:
            runs.append([row, row])
    spans = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    return f"{'row' if len(set(rows)) == 1 else 'rows'} {', '.join(spans)}"


class RowProblems:
    """Gathers problems while a table is read; rows that share a problem share a line."""

    def __init__(self) -> None:
        self._rows: dict[str, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, text: str, *, row: int = 0) -> None:
        """Note a problem of one row (the header is row 1), or of the whole table (`row` 0)."""
        self._rows.setdefault(text, []).append(row)

    def lines(self) -> list[str]:
        """One sentence a problem, by first row."""
        ordered = sorted(self._rows.items(), key=lambda item: min(item[1]))
        return [f"{name_rows(rows)}: {text}" if any(rows) else text for text, rows in ordered]

    def raise_if_any(self, title: str) -> None:
        """Raise everything that was gathered.

        Raises:
            DataError: All problems, under `title`.
        """
        if self._rows:
            raise DataError(self.lines(), title=title)
