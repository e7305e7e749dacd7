"""Words that stand in cells of which nothing is known."""

from __future__ import annotations

PLACEHOLDERS = frozenset(
    {
        "na", "n/a", "n.a.", "n.a", "#n/a", "#na", "<na>", "nan", "nat", "null", "<null>", "nil",
        "none", "missing", "unknown", "unk", "unspecified", "undefined", "not available",
        "not applicable", "not known", "#value!", "#ref!", "?", "??", "-", "--", "---", "\u2013",
        "\u2014", ".", "..", "_", "*", "/",
    }
)  # fmt: skip
"""What counts as blank where it stands for a patient, a label, a sex or a view; any case."""


def is_placeholder(cell: str) -> bool:
    """Tell whether a cell says that nothing is known.

    Example:
        >>> [is_placeholder(cell) for cell in ("N/A", " unknown ", "-", "0", "No Finding")]
        [True, True, True, False, False]
    """
    return " ".join(cell.casefold().split()) in PLACEHOLDERS
