"""Faults of a table, collected and raised together: a line each, with file, row and column."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = 20


class Faults:
    """What is wrong with one file."""

    def __init__(self, file: object) -> None:
        """Collect faults of `file`, which is named as the user wrote it."""
        self._file = str(file)
        self._lines: list[str] = []
        self._count = 0

    def add(self, what: str, *, row: int | None = None, column: str | None = None) -> None:
        """Note one fault; `row` counts from 1 at the header, as a spreadsheet does."""
        self._count += 1
        if len(self._lines) < _SHOWN:
            places = [self._file]
            if row is not None:
                places.append(f"row {row}")
            if column is not None:
                places.append(f"column {column!r}")
            self._lines.append(f"{', '.join(places)}: {what}")

    def raise_if_any(self) -> None:
        """Raise all faults as one error.

        Raises:
            DataError: there is at least one; the first 20 are spelled out.
        """
        if not self._count:
            return
        more = self._count - len(self._lines)
        raise DataError("\n".join([*self._lines, *([f"and {more} more"] if more else [])]))


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
