"""What is predicted: which columns, as what, with which classes; fixed on the training set."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cxrlearn.data.faults import Faults, missing_columns, quoted
from cxrlearn.data.label_cells import (
    NEGATIVE,
    POSITIVE,
    TWO_VALUED,
    UNCERTAIN,
    LabelColumn,
    is_fraction,
    is_whole,
    label_column,
    spelled,
)
from cxrlearn.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from cxrlearn.data.manifest import Manifest

TaskKind = Literal["binary", "multilabel", "multiclass"]

_MANY_CLASSES = 20  # a column with more values than this, half as many as rows, holds no classes


@dataclass(frozen=True)
class LabelPolicy:
    """How cells become labels."""

    uncertain: Literal["mask", "zeros", "ones"] = "mask"
    """What -1 means."""
    blank: Literal["mask", "zeros"] = "mask"
    """What an empty cell of a 0/1 column means."""
    positive: str | None = None
    """Which value of a two-valued column is the positive one."""
    task: Literal["auto", "binary", "multilabel", "multiclass"] = "auto"
    """What the columns are taken as."""
    num_classes: int | None = None
    """How many classes must be found; None checks nothing."""


@dataclass(frozen=True)
class Task:
    """What is predicted."""

    kind: TaskKind
    """One 0/1 label, several, or one of several classes."""
    columns: tuple[str, ...]
    """Columns the labels are read from."""
    names: tuple[str, ...]
    """The L labels or classes; classes are sorted."""
    policy: LabelPolicy
    """How cells become labels."""
    negative: str | None = None
    """The other value of a column for which `policy.positive` names one."""


def define_task(manifest: Manifest, class_columns: Sequence[str], policy: LabelPolicy) -> Task:
    """Decide on the training set what is predicted.

    Several columns are a multi-label task; one column of 0, 1, -1 and blanks is binary, and so is
    one of two other values if the policy says which is positive; one of more values is multi-class.

    Raises:
        DataError: a column is missing or holds no labels, or the number of classes is another.
        UsageError: the policy does not fit the columns.
    """
    names = tuple(class_columns)
    check_columns(manifest, names)
    columns = [label_column(manifest, name) for name in names]
    kind = _kind(manifest, columns, policy)
    if kind == "multiclass":
        task = Task(kind, names, _class_names(manifest, columns[0], policy), policy)
    elif policy.positive is not None:
        task = _with_positive(manifest, columns, policy.positive, policy)
    else:
        task = Task(kind, names, names, policy)
    _check_number(manifest, task)
    return task


def where(manifest: Manifest) -> str:
    """Return what messages call the source of a manifest."""
    return str(manifest.file or manifest.image_root)


def check_columns(manifest: Manifest, names: Sequence[str]) -> None:
    """Refuse label columns that are not there, named twice, or the paths.

    Raises:
        DataError: the sentence names the columns there are.
    """
    columns = [str(name) for name in manifest.table.columns]
    wrong = [name for name in names if name not in columns]
    if wrong:
        raise DataError(f"{where(manifest)}: {missing_columns(wrong, columns, '--class-columns')}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"--class-columns names {quoted(twice)} more than once.")
    if not names or manifest.columns.path in names:
        candidates = suggest_class_columns(manifest.table)
        raise DataError(
            f"{where(manifest)}: --class-columns has to name the label columns. "
            f"Columns that hold 0/1: {quoted(candidates) or 'none'}."
        )


def _kind(manifest: Manifest, columns: Sequence[LabelColumn], policy: LabelPolicy) -> TaskKind:
    if len(columns) > 1:
        if policy.task in {"binary", "multiclass"} or policy.positive is not None:
            option = "--positive" if policy.positive is not None else f"--task {policy.task}"
            raise UsageError(f"{option} takes one label column; {len(columns)} are named.")
        return "multilabel"
    column = columns[0]
    values = set(column.counts) - {UNCERTAIN}
    if policy.task != "auto":
        if policy.task == "multiclass" and len(values) == 2:
            raise UsageError(
                f"{where(manifest)}: column {column.name!r} has two values, "
                f"{quoted(sorted(values))}: that is --task binary, with --positive if they aren't "
                "0 and 1."
            )
        return policy.task
    if policy.positive is not None or values <= TWO_VALUED:
        _check_not_empty(manifest, column)
        return "binary"
    _check_classes(manifest, column, values)
    return "multiclass"


def _check_not_empty(manifest: Manifest, column: LabelColumn) -> None:
    if not column.counts:
        raise DataError(f"{where(manifest)}: column {column.name!r} is blank in every row.")


def _check_classes(manifest: Manifest, column: LabelColumn, values: set[str]) -> None:
    """Refuse a column that does not look like classes, and two values without a positive one."""
    place = f"{where(manifest)}: column {column.name!r}"
    if len(values) == 1:
        raise DataError(f"{place} has one value, {quoted(values)}: there is nothing to tell apart.")
    _check_stray_values(manifest, column, values)
    if len(values) == 2:
        first, second = sorted(values)
        raise UsageError(
            f"{place} has two values, {first!r} and {second!r}: say which one is positive, "
            f"--positive {second!r} or --positive {first!r}."
        )
    if len(values) > _MANY_CLASSES and 2 * len(values) > len(manifest):
        raise DataError(
            f"{place} has {len(values)} different values in {len(manifest)} rows (such as "
            f"{quoted(sorted(values), most=3)}): hardly classes. If they are: --task multiclass."
        )


def _check_stray_values(manifest: Manifest, column: LabelColumn, values: set[str]) -> None:
    """List numbers that are not whole, and words in a column of 0 and 1."""
    mostly_01 = {POSITIVE, NEGATIVE} <= values
    stray = {value for value in values if is_fraction(value) or (mostly_01 and not is_whole(value))}
    faults = Faults(where(manifest))
    for row, cell in zip(manifest.rows, column.cells, strict=True):
        if cell in stray:
            faults.add(
                f"{cell!r} is not a label; expected 0, 1, -1 (uncertain) or nothing. "
                "If the column holds classes: --task multiclass",
                row=row,
                column=column.name,
            )
    faults.raise_if_any()


def _class_names(manifest: Manifest, column: LabelColumn, policy: LabelPolicy) -> tuple[str, ...]:
    place = f"{where(manifest)}: column {column.name!r}"
    if policy.blank == "zeros":
        raise UsageError(
            f"--blank zeros is for 0/1 labels; {place} holds classes, where a blank masks the row."
        )
    if policy.uncertain != "mask" and column.counts[UNCERTAIN]:
        raise UsageError(
            f"--uncertain {policy.uncertain} is for 0/1 labels; {place} holds classes, where -1 "
            "masks the row."
        )
    _check_not_empty(manifest, column)
    names = set(column.counts) - {UNCERTAIN}
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        spellings[" ".join(name.casefold().split())].append(name)
    alike = [quoted(group) for group in spellings.values() if len(group) > 1]
    if alike:
        raise DataError(
            f"{place} has classes that differ in case or blanks only: {'; '.join(alike)}. "
            "Give each one spelling."
        )
    return tuple(_sorted_classes(names))


def _sorted_classes(names: Iterable[str]) -> list[str]:
    """Sort by number where all are whole numbers, else as text."""
    listed = list(names)
    return sorted(listed, key=int) if all(map(is_whole, listed)) else sorted(listed)


def _with_positive(
    manifest: Manifest, columns: Sequence[LabelColumn], positive: str, policy: LabelPolicy
) -> Task:
    column, wanted = columns[0], spelled(positive)
    values = set(column.counts)
    if len(values) > 2:
        values -= {UNCERTAIN}
    others = values - {wanted}
    place = f"{where(manifest)}: column {column.name!r}"
    if wanted not in values:
        raise UsageError(
            f"--positive {positive!r} does not occur in {place}, "
            f"which holds {quoted(sorted(values), most=8)}."
        )
    if len(others) != 1:
        raise UsageError(
            f"--positive needs a column of two values; {place} holds "
            f"{quoted(sorted(values), most=8)}."
        )
    name = column.name if wanted == POSITIVE else f"{column.name}={positive}"
    return Task("binary", (column.name,), (name,), policy, negative=others.pop())


def _check_number(manifest: Manifest, task: Task) -> None:
    wanted = task.policy.num_classes
    # One yes-or-no label has been called one class by some, two by others.
    allowed = {1, 2} if task.kind == "binary" else {len(task.names)}
    if wanted is not None and wanted not in allowed:
        what = "classes" if task.kind == "multiclass" else "labels"
        raise DataError(
            f"--num-classes {wanted}, but {where(manifest)} has {len(task.names)} {what}: "
            f"{quoted(task.names)}."
        )


def suggest_class_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns that hold 0/1 labels: nothing but 0, 1, -1 and blanks, and some 0 or 1."""
    found = []
    for name in table.columns:
        cells = table[name].dropna().unique()
        values = {spelled(cell) for cell in cells} if len(cells) <= 12 else set()
        if values & {POSITIVE, NEGATIVE} and values <= TWO_VALUED:
            found.append(str(name))
    return tuple(found)
