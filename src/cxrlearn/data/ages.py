"""Ages as manifests write them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

OLDEST = 120
"""Ages above this are taken for mistakes."""
_AGE = re.compile(r"0*([0-9]{1,3}(?:[.,][0-9]*)?) *([ymwd]?)(?: *(?:or more|and over|\+))?")
_PER_YEAR = {"": 1, "y": 1, "m": 12, "w": 52, "d": 365}


def age_years(text: str | None) -> float | None:
    """Return an age in years; None for a blank, what is no age, and ages above 120.

    Example:
        >>> [age_years(text) for text in ("63", "63,5", "063Y", "018M", "85 or more", "411", "?")]
        [63.0, 63.5, 63.0, 1.5, 85.0, None, None]
    """
    match = None if text is None else _AGE.fullmatch(text.strip().lower())
    if match is None:
        return None
    years = float(match[1].replace(",", ".")) / _PER_YEAR[match[2]]
    return years if years <= OLDEST else None


def age_bands(ages: Iterable[str | None]) -> list[str | None]:
    """Sort ages into 0-19, 20-39, 40-59, 60-79 and 80+; None for what `age_years` cannot read.

    Example:
        >>> age_bands(["7", "063Y", "85 or more", "unknown", None])
        ['0-19', '60-79', '80+', None, None]
    """
    return [None if years is None else _band(int(years)) for years in map(age_years, ages)]


def _band(years: int) -> str:
    if years >= 80:
        return "80+"
    low = 20 * (years // 20)
    return f"{low}-{low + 19}"
