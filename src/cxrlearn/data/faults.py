"""Faults of a table, collected and raised together: a line each, with file, rows and column."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHOWN = 20
_FIRST = 3  # rows and values that a line names


@dataclass
class _Kind:
    """Equal complaints about one column."""

    rows: list[int] = field(default_factory=list)
    values: dict[str, None] = field(default_factory=dict)


class Faults:
    """What is wrong with one file; equal complaints become one line with the first rows."""

    def __init__(self, file: object) -> None:
        """Collect faults of `file`, which is named as the user wrote it."""
        self._file = str(file)
        self._kinds: dict[tuple[str | None, str], _Kind] = {}

    def add(
        self, what: str, *, row: int | None = None, column: str | None = None, value: str = ""
    ) -> None:
        """Note one fault; `row` counts from 1 at the header, as a spreadsheet does.

        Args:
            what: the complaint; equal ones about one column are joined.
            row: where it was found.
            column: the same.
            value: the cell, if the complaint begins with it: "'x' is no label".
        """
        kind = self._kinds.setdefault((column, what), _Kind())
        if row is not None and kind.rows[-1:] != [row]:
            kind.rows.append(row)
        if value:
            kind.values[value] = None

    def raise_if_any(self) -> None:
        """Raise all faults as one error.

        Raises:
            DataError: there is at least one; the first 20 kinds are spelled out.
        """
        if not self._kinds:
            return
        lines = [self._line(*key, kind) for key, kind in self._kinds.items()]
        more = len(lines) - _SHOWN
        raise DataError(*lines[:_SHOWN], *([f"and {more} more"] if more > 0 else []))

    def _line(self, column: str | None, what: str, kind: _Kind) -> str:
        places = [self._file]
        if kind.rows:
            places.append(listed_rows(kind.rows))
        if column is not None:
            places.append(f"column {column!r}")
        first, *others = [*kind.values, ""]
        start = f"{first!r} " if first else ""
        also = f" (also {quoted(others[:-1], most=_FIRST)})" if others[:-1] else ""
        return f"{', '.join(places)}: {start}{what}{also}"


def listed_rows(rows: Sequence[int]) -> str:
    """Return row numbers for a sentence: "row 3", "rows 3, 5", "rows 3, 5, 9 and 41 more"."""
    if len(rows) == 1:
        return f"row {rows[0]}"
    more = len(rows) - _FIRST
    first = ", ".join(map(str, rows[:_FIRST]))
    return f"rows {first}" + (f" and {more:,} more" if more > 0 else "")


def quoted(names: Iterable[str], *, most: int = 40) -> str:
    """Return names for a sentence: 'a', 'b' and 3 more."""
    listed = [repr(name) for name in names]
    more = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {more} more" if more > 0 else "")


def did_you_mean(wrong: str, names: Iterable[str]) -> str:
    """Return " Did you mean …?" for the name nearest to `wrong`, or an empty string."""
    by_folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(wrong.casefold(), by_folded, n=1, cutoff=0.6)
    return f" Did you mean {by_folded[near[0]]!r}?" if near else ""


def missing_columns(wrong: Iterable[str], columns: Iterable[str], option: str) -> str:
    """Return the sentence for columns that `option` names and the file lacks."""
    names = list(columns)
    parts = [f"{name!r}.{did_you_mean(name, names)}" for name in wrong]
    return f"{option} names {' '.join(parts)} The columns are {quoted(names)}."
