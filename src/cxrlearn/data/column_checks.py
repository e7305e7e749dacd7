"""Columns that hold no labels, or none without a word from the user: what to do about each."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from cxrlearn.data.faults import Faults, quoted
from cxrlearn.data.findings import separator_of
from cxrlearn.data.label_cells import (
    NEGATIVE,
    POSITIVE,
    TWO_VALUED,
    LabelColumn,
    is_fraction,
    is_measure,
    is_whole,
    word,
)
from cxrlearn.errors import DataError, UsageError
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cxrlearn.data.manifest import Manifest

_MANY_CLASSES = 20  # more numbers than this are no classes, nor are so many words in few rows
_NEVER_CLASSES = 100  # more words than this are no classes in any number of rows
_MANY_FRACTIONS = 5  # more values than this, among them fractions, are measured
_YES = ("yes", "y", "positive", "pos", "present", "abnormal", "true", "t", "x")


def where(manifest: Manifest) -> str:
    """Return what messages call the source of a manifest."""
    return str(manifest.file or manifest.image_root)


def check_not_empty(manifest: Manifest, column: LabelColumn) -> None:
    """Refuse a column without any value.

    Raises:
        DataError: it is blank in every row.
    """
    if not column.counts:
        raise DataError(f"{where(manifest)}: column {column.name!r} is blank in every row.")


def check_classes(manifest: Manifest, column: LabelColumn, values: set[str]) -> None:
    """Refuse a column that does not look like classes, and two values without a positive one.

    Raises:
        DataError: one value, too many values, or measurements.
        UsageError: an option has to say what the values mean.
    """
    place = f"{where(manifest)}: column {column.name!r}"
    if len(values) == 1:
        raise DataError(f"{place} has one value, {quoted(values)}: there is nothing to tell apart.")
    most = 2 if column.name == manifest.columns.age else _MANY_CLASSES
    _check_numbers(place, values, most)
    joined = separator_of(values)
    if joined is not None:
        rows = sum(count for value, count in column.counts.items() if joined[0] in value)
        raise UsageError(
            f"{place} has several findings in one cell ({joined[1]!r}; {counted(rows, 'row')} "
            f"with {joined[0]!r}), and classes exclude each other. --label-separator "
            f"'{joined[0]}' makes a label of each finding; if they are classes: --task multiclass."
        )
    _check_stray_values(manifest, column, values)
    if len(values) == 2:
        first, second = _positive_first(values)
        raise UsageError(
            f"{place} has two values, {second!r} and {first!r}: say which one is positive, "
            f"--positive {first!r} or --positive {second!r}."
        )
    few_rows = len(values) > _MANY_CLASSES and 2 * len(values) > len(manifest)
    if few_rows or len(values) > _NEVER_CLASSES:
        raise DataError(
            f"{place} has {len(values)} different values in {len(manifest)} rows (such as "
            f"{quoted(sorted(values), most=3)}): hardly classes. If they are: --task multiclass."
        )


def check_words(manifest: Manifest, columns: Sequence[LabelColumn]) -> None:
    """Ask which word is positive, where most labels of a column are words.

    Raises:
        UsageError: they do; the message names the option.
    """
    # A word among numbers is a slip, which is told with its row.
    with_words = [column for column in columns if _mostly_words(column)]
    words = {word(value): value for column in with_words for value in column.counts}
    for value in TWO_VALUED:
        words.pop(value, None)
    if not words or any(map(is_measure, words)):
        return
    place = (
        f"{where(manifest)}: {'columns' if len(with_words) > 1 else 'column'} "
        f"{quoted([column.name for column in with_words], most=4)}: the labels are words, "
        f"{quoted(sorted(words.values()), most=6)}."
    )
    if len(words) > 2:
        raise UsageError(
            f"{place} Labels in several columns are 0 and 1, or two words of which --positive "
            "names one; write -1 for uncertain ones and nothing for unknown ones. A column of "
            "classes or findings is named alone."
        )
    if len(words) == 1:
        raise UsageError(
            f"{place} If a blank means the other: --positive {next(iter(words.values()))!r} "
            "--blank zeros."
        )
    options = " or ".join(f"--positive {one!r}" for one in _positive_first(words.values()))
    raise UsageError(f"{place} Say which one is positive: {options}.")


def check_spellings(place: str, what: str, names: Iterable[str]) -> None:
    """Refuse names that are one but for case and blanks.

    Raises:
        DataError: there are such names; `place` and `what` begin the message.
    """
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        spellings[" ".join(name.casefold().split())].append(name)
    alike = [quoted(group) for group in spellings.values() if len(group) > 1]
    if alike:
        raise DataError(
            f"{place} has {what} that differ in case or blanks only: {'; '.join(alike)}. "
            "Give each one spelling."
        )


def sorted_classes(names: Iterable[str]) -> list[str]:
    """Sort by number where all are whole numbers, else as text."""
    listed = list(names)
    return sorted(listed, key=int) if all(map(is_whole, listed)) else sorted(listed)


def _check_numbers(place: str, values: set[str], most: int) -> None:
    """Refuse what was measured, such as an age."""
    if not all(map(is_measure, values)):
        return
    if len(values) > (_MANY_FRACTIONS if any(map(is_fraction, values)) else most):
        shown = quoted(sorted_classes(values), most=3)
        raise DataError(
            f"{place} has {len(values)} different numbers (such as {shown}): a measurement, not "
            "classes. To predict whether it is above a limit, write a column of 0 and 1; if they "
            "are classes: --task multiclass."
        )


def _mostly_words(column: LabelColumn) -> bool:
    words = sum(rows for value, rows in column.counts.items() if value not in TWO_VALUED)
    return 2 * words > column.counts.total()


def _positive_first(words: Iterable[str]) -> list[str]:
    """Sort words so that the likely positive one comes first."""
    return sorted(words, key=lambda one: (one.casefold() not in _YES, one))


def _check_stray_values(manifest: Manifest, column: LabelColumn, values: set[str]) -> None:
    """List numbers that are not whole, and words in a column of 0 and 1."""
    mostly_01 = {POSITIVE, NEGATIVE} <= values
    stray = {value for value in values if is_fraction(value) or (mostly_01 and not is_whole(value))}
    faults = Faults(where(manifest))
    for row, cell in zip(manifest.rows, column.cells, strict=True):
        if cell in stray:
            faults.add(
                "is not a label; expected 0, 1, -1 (uncertain) or nothing. "
                "If the column holds classes: --task multiclass",
                row=row,
                column=column.name,
                value=cell,
            )
    faults.raise_if_any()
