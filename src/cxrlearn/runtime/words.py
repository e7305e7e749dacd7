"""Numbers in sentences."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return `1 image`, `0 images` or `2,000 images`.

    Args:
        count: 0 or more.
        noun: for one.
        plural: for others, where it does not end in `s`.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def agreeing(count: int, one: str, many: str) -> str:
    """Return the form of a word that fits a count: `agreeing(1, "is", "are")` is `is`."""
    return one if count == 1 else many
