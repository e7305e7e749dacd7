"""What a label cell says: its text in one spelling, and which values a column holds."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.data.ages import age_years
from cxrlearn.data.placeholders import is_placeholder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlearn.data.manifest import Manifest

POSITIVE, NEGATIVE, UNCERTAIN = "1", "0", "-1"
TWO_VALUED = frozenset({POSITIVE, NEGATIVE, UNCERTAIN})
"""What a 0/1 label may be, blanks aside."""

# Spreadsheets of many countries write 1,0 for 1.0.
_WHOLE = re.compile(r"([+-]?)0*(\d+)(?:\.0*|,0+)?(?:[eE][+-]?0+)?")
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
_TRUTH = {"true": POSITIVE, "false": NEGATIVE}
_SAME_WORD = {"y": "yes", "n": "no", "pos": "positive", "neg": "negative", "uncertain": UNCERTAIN}


def spelled(cell: str) -> str:
    """Return whole numbers and truth values in one spelling: 1 for 1.0, 1,0, +1 and TRUE."""
    if not cell.isascii():  # an accent in both of its forms, and the minus of typesetting
        cell = unicodedata.normalize("NFC", cell).replace("\u2212", "-")
    whole = _WHOLE.fullmatch(cell)
    if whole is None:
        return _TRUTH.get(cell.casefold(), cell)
    sign = "-" if whole.group(1) == "-" and whole.group(2) != "0" else ""
    return sign + whole.group(2)


def word(cell: str) -> str:
    """Return a label in words in one spelling, for columns of which one word is positive.

    Example:
        >>> [word(cell) for cell in ("YES", "y", "Pos", "Uncertain", "no  finding")]
        ['yes', 'yes', 'positive', '-1', 'no finding']
    """
    plain = " ".join(cell.casefold().split())
    return _SAME_WORD.get(plain, plain)


def is_fraction(text: str) -> bool:
    """Tell whether a value is a number that is not whole."""
    return _NUMBER.fullmatch(text) is not None and _WHOLE.fullmatch(text) is None


def is_whole(text: str) -> bool:
    """Tell whether a value is a whole number."""
    return _WHOLE.fullmatch(text) is not None


def is_measure(text: str) -> bool:
    """Tell whether a value is a number, or an age such as 063Y."""
    return _NUMBER.fullmatch(text) is not None or age_years(text) is not None


@dataclass(frozen=True, eq=False)
class LabelColumn:
    """One label column, its cells in one spelling."""

    name: str
    """Name of the column."""
    cells: NDArray[np.object_]
    """(N,) text, None where blank or a placeholder such as NA."""
    counts: Counter[str]
    """How often each value occurs, blanks aside."""
    placeholders: Counter[str]
    """How often each placeholder occurs."""


def label_column(manifest: Manifest, name: str) -> LabelColumn:
    """Read one column of a manifest, as the file has it: its sex may be a label."""
    raw = Counter(
        {str(cell): int(rows) for cell, rows in manifest.table[name].value_counts().items()}
    )
    placeholders = Counter({cell: raw[cell] for cell in raw if is_placeholder(cell)})
    spelling = {cell: None if cell in placeholders else spelled(cell) for cell in raw}
    cells = np.array([spelling.get(cell) for cell in manifest.table[name]], dtype=object)
    counts: Counter[str] = Counter()
    for cell, one in spelling.items():
        if one is not None:
            counts[one] += raw[cell]
    return LabelColumn(name, cells, counts, placeholders)
