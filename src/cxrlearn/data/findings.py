"""Cells that hold several findings, such as `Effusion|Mass` or `['edema', 'mass']`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.data.columns import plain_name
from cxrlearn.data.placeholders import is_placeholder

if TYPE_CHECKING:
    from collections.abc import Iterable

SEPARATORS = ("|", ";", ",", "/", "+", "&", " and ")
"""Signs that join findings in a cell, those that hardly occur in names first."""

_NOTHING = frozenset(
    {"nofinding", "nofindings", "normal", "healthy", "unremarkable", "noabnormality"}
)  # compared without case, blanks and signs
_BRACKETS, _QUOTES = "[](){}", "'\" "


def is_list(cell: str) -> bool:
    """Tell whether a cell is a list as Python writes it: `['a', 'b']`."""
    return cell.startswith("[") and cell.endswith("]")


def findings_of(cell: str, separator: str) -> tuple[str, ...]:
    """Return the findings of a cell in its order, each once; words for "nothing found" are none.

    Example:
        >>> findings_of("Effusion|Mass| Effusion", "|"), findings_of("['edema', 'mass']", ",")
        (('Effusion', 'Mass'), ('edema', 'mass'))
        >>> findings_of("No Finding", "|")
        ()
    """
    inner = cell.strip(_BRACKETS) if is_list(cell) else cell
    parts = (part.strip(_QUOTES) for part in inner.split(separator))
    return tuple(
        dict.fromkeys(
            part
            for part in parts
            if part and not is_placeholder(part) and plain_name(part) not in _NOTHING
        )
    )


def separator_of(values: Iterable[str]) -> tuple[str, str] | None:
    """Return the sign that joins findings in the values of a column, and a value that has it.

    Bars and lists always join; another sign does if a part of the value is found in another
    value too, so that `Nodule/Mass` alone stays one finding.
    """
    listed = sorted(values)
    brackets = next((value for value in listed if is_list(value) and "," in value), None)
    if brackets is not None:
        return ",", brackets
    for separator in SEPARATORS:
        parts = {
            value: {part.strip() for part in value.split(separator)} - {""} for value in listed
        }
        for value in listed:
            if len(parts[value]) < 2:
                continue
            others = set().union(*(found for other, found in parts.items() if other != value))
            if separator == "|" or parts[value] & others:
                return separator, value
    return None
