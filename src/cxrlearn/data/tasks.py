"""What is predicted: which columns, as what, with which classes; fixed on the training set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cxrlearn.data.column_checks import (
    check_classes,
    check_not_empty,
    check_spellings,
    check_words,
    sorted_classes,
    where,
)
from cxrlearn.data.faults import missing_columns, quoted
from cxrlearn.data.findings import findings_of
from cxrlearn.data.label_cells import (
    NEGATIVE,
    POSITIVE,
    TWO_VALUED,
    UNCERTAIN,
    LabelColumn,
    label_column,
    spelled,
    word,
)
from cxrlearn.data.placeholders import is_placeholder
from cxrlearn.errors import DataError, UsageError
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from cxrlearn.data.manifest import Manifest

TaskKind = Literal["binary", "multilabel", "multiclass"]


@dataclass(frozen=True)
class LabelPolicy:
    """How cells become labels."""

    uncertain: Literal["mask", "zeros", "ones"] = "mask"
    """What -1 means."""
    blank: Literal["mask", "zeros"] = "mask"
    """What an empty cell of a 0/1 column means."""
    positive: str | None = None
    """Which of two values is the positive one, in every column; any case."""
    task: Literal["auto", "binary", "multilabel", "multiclass"] = "auto"
    """What the columns are taken as."""
    num_classes: int | None = None
    """How many classes must be found; None checks nothing."""
    separator: str | None = None
    """What joins the findings of a cell; None: a cell holds one value."""


@dataclass(frozen=True)
class Task:
    """What is predicted."""

    kind: TaskKind
    """One 0/1 label, several, or one of several classes."""
    columns: tuple[str, ...]
    """Columns the labels are read from."""
    names: tuple[str, ...]
    """The L labels, findings or classes; findings and classes are sorted."""
    policy: LabelPolicy
    """How cells become labels."""
    negative: str | None = None
    """The other value of columns for which `policy.positive` names one."""


def define_task(manifest: Manifest, class_columns: Sequence[str], policy: LabelPolicy) -> Task:
    """Decide on the training set what is predicted.

    Several columns are a multi-label task; one column of 0, 1, -1 and blanks is binary, and so is
    one of two other values if the policy says which is positive; one of more values is multi-class,
    unless the policy names the sign that joins several findings in a cell: each is a label then.

    Raises:
        DataError: a column is missing or holds no labels, or the number of classes is another.
        UsageError: the policy does not fit the columns.
    """
    names = tuple(class_columns)
    check_columns(manifest, names)
    columns = [label_column(manifest, name) for name in names]
    if policy.separator is not None:
        task = _with_separator(manifest, columns, policy)
        _check_number(manifest, task)
        return task
    kind = _kind(manifest, columns, policy)
    if kind == "multiclass":
        task = Task(kind, names, _class_names(manifest, columns[0], policy), policy)
    elif policy.positive is not None:
        task = _with_positive(manifest, columns, policy.positive, policy, kind)
    else:
        task = Task(kind, names, names, policy)
    _check_number(manifest, task)
    return task


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
        if policy.task in {"binary", "multiclass"}:
            raise UsageError(
                f"--task {policy.task} takes one label column; {len(columns)} are named."
            )
        if policy.positive is None:
            check_words(manifest, columns)
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
        check_not_empty(manifest, column)
        return "binary"
    check_classes(manifest, column, values)
    return "multiclass"


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
    check_not_empty(manifest, column)
    names = set(column.counts) - {UNCERTAIN}
    check_spellings(place, "classes", names)
    return tuple(sorted_classes(names))


def _with_separator(
    manifest: Manifest, columns: Sequence[LabelColumn], policy: LabelPolicy
) -> Task:
    """Make a label of each finding of one column."""
    column, separator = columns[0], policy.separator or ""
    place = f"{where(manifest)}: column {column.name!r}"
    if len(columns) > 1:
        raise UsageError(f"--label-separator takes one label column; {len(columns)} are named.")
    if not separator.strip():
        raise UsageError("--label-separator: expected a sign such as '|', got blanks.")
    if policy.positive is not None or policy.task in {"binary", "multiclass"}:
        option = "--positive" if policy.positive is not None else f"--task {policy.task}"
        raise UsageError(f"--label-separator and {option} exclude each other.")
    check_not_empty(manifest, column)
    if not any(separator in value for value in column.counts):
        raise UsageError(
            f"--label-separator {separator!r} is in no cell of {place}, which holds "
            f"{quoted(sorted(column.counts), most=4)}."
        )
    names = {name for value in column.counts for name in findings_of(value, separator)}
    names.discard(UNCERTAIN)
    if not names:
        raise DataError(f"{place} names no finding between {separator!r}.")
    check_spellings(place, "findings", names)
    return Task("multilabel", (column.name,), tuple(sorted(names)), policy)


def _with_positive(
    manifest: Manifest,
    columns: Sequence[LabelColumn],
    positive: str,
    policy: LabelPolicy,
    kind: TaskKind,
) -> Task:
    wanted = word(spelled(positive))
    place = f"{where(manifest)}: " + (
        f"column {columns[0].name!r}"
        if len(columns) == 1
        else f"columns {quoted([column.name for column in columns], most=4)}"
    )
    values = {word(value): value for column in columns for value in column.counts}
    listed = quoted(sorted(values.values()), most=8)
    if wanted not in values:
        raise UsageError(
            f"--positive {positive!r} does not occur in {place}. The values are {listed}."
        )
    others = {key: value for key, value in values.items() if key != wanted}
    if len(others) > 1:
        others.pop(UNCERTAIN, None)
    if len(columns) > 1 and wanted not in TWO_VALUED:  # columns of 0 and 1 beside those of words
        others = {key: value for key, value in others.items() if key not in TWO_VALUED}
    # A mark for "present" needs no other value where a blank means "absent".
    if len(others) != 1 and not (len(others) == 0 and policy.blank == "zeros"):
        raise UsageError(
            f"--positive needs two values, but those of {place} are {listed}. Write -1 for "
            "uncertain labels and nothing for unknown ones."
        )
    names = tuple(column.name for column in columns)
    if len(columns) == 1 and wanted != POSITIVE:
        names = (f"{columns[0].name}={positive}",)
    return Task(
        kind,
        tuple(column.name for column in columns),
        names,
        policy,
        negative=next(iter(others.values()), None),
    )


def _check_number(manifest: Manifest, task: Task) -> None:
    wanted = task.policy.num_classes
    # One yes-or-no label has been called one class by some, two by others.
    allowed = {1, 2} if task.kind == "binary" else {len(task.names)}
    if wanted is not None and wanted not in allowed:
        several = f"{len(task.names)} classes"
        found = several if task.kind == "multiclass" else counted(len(task.names), "label")
        raise DataError(
            f"--num-classes {wanted}, but {where(manifest)} has {found}: {quoted(task.names)}."
        )


def suggest_class_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns that hold 0/1 labels: nothing but 0, 1, -1 and blanks, and some 0 or 1."""
    found = []
    for name in table.columns:
        cells = table[name].dropna().unique()
        known = [cell for cell in cells if not is_placeholder(cell)]
        values = {spelled(cell) for cell in known} if len(known) <= 12 else set()
        if values & {POSITIVE, NEGATIVE} and values <= TWO_VALUED:
            found.append(str(name))
    return tuple(found)
