"""Label columns to arrays: 0, 1 and what is not known.

The task (which columns, which classes, in which order) is fixed on the training set and then only
looked up: a class that turns up elsewhere is an error, never a new class.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.data.column_checks import where
from cxrlearn.data.faults import Faults, did_you_mean, quoted
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
from cxrlearn.data.label_counts import LabelCounts, count_labels, one_class_labels
from cxrlearn.data.tasks import (
    LabelPolicy,
    Task,
    check_columns,
    define_task,
    suggest_class_columns,
)
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cxrlearn.data.manifest import Manifest

__all__ = [
    "LabelCounts",
    "LabelPolicy",
    "Labels",
    "Task",
    "count_labels",
    "define_task",
    "one_class_labels",
    "placeholder_notices",
    "read_labels",
    "suggest_class_columns",
]


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of one set, in the order of its manifest."""

    values: NDArray[np.int8]
    """(N, L) 0 or 1, 0 where unknown; classes are one-hot."""
    known: NDArray[np.bool_]
    """(N, L) False where masked; a row of classes is known as a whole or not at all."""
    blank: NDArray[np.bool_]
    """(N, L) True where the cell is empty, masked or not."""

    @property
    def class_index(self) -> NDArray[np.int64]:
        """(N,) index of the class, -1 where masked; of a multi-class task only."""
        index = np.where(self.known.all(axis=1), self.values.argmax(axis=1), -1)
        return index.astype(np.int64)

    def select(self, rows: Sequence[int]) -> Labels:
        """Return these rows, in that order."""
        index = np.asarray(rows, dtype=np.intp)
        return Labels(self.values[index], self.known[index], self.blank[index])


def read_labels(manifest: Manifest, task: Task) -> Labels:
    """Read the labels of any set as `task` defines them.

    Raises:
        DataError: missing columns, unknown values and classes, and images that have two rows, all
            together with row numbers.
    """
    check_columns(manifest, task.columns)
    faults = Faults(where(manifest))
    columns = [label_column(manifest, name) for name in task.columns]
    _check_repeats(manifest, columns, faults)
    if task.policy.separator is not None:
        labels = _read_findings(manifest, task, columns[0], faults)
    elif task.kind == "multiclass":
        labels = _read_classes(manifest, task, columns[0], faults)
    else:
        labels = _read_two_valued(manifest, task, columns, faults)
    faults.raise_if_any()
    return labels


def placeholder_notices(manifests: Sequence[Manifest], columns: Sequence[str]) -> list[str]:
    """Return a sentence for each file and label column with placeholders, which count as blank."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for manifest in manifests:
        for name in columns:
            found[where(manifest), name] += label_column(manifest, name).placeholders
    return [
        f"{file}, column {name!r}: "
        + ", ".join(f"{cell!r} ({counted(rows, 'row')})" for cell, rows in cells.most_common(4))
        + f" {'counts' if len(cells) == 1 else 'count'} as blank."
        for (file, name), cells in found.items()
        if cells
    ]


def _check_repeats(manifest: Manifest, columns: Sequence[LabelColumn], faults: Faults) -> None:
    """Find images with more than one row; exact repeats have left the manifest already."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for index, identity in enumerate(manifest.image_ids):
        rows_of[identity].append(index)
    for identity, indices in rows_of.items():
        first = indices[0]
        for other in indices[1:]:
            unequal = [c.name for c in columns if c.cells[first] != c.cells[other]]
            what = (
                f"other labels in {quoted(unequal, most=3)}"
                if unequal
                else "equal labels; only another column differs"
            )
            two_files = not identity.isascii() and manifest.paths[first] != manifest.paths[other]
            names = "two files, whose names Unicode writes in two ways: rename or leave out one"
            fault = names if two_files else f"several rows, with {what}: an image needs one row"
            for row in {first: True, other: True} if other == indices[1] else (other,):
                faults.add(f"has {fault}", row=manifest.rows[row], value=identity)


def _read_classes(manifest: Manifest, task: Task, column: LabelColumn, faults: Faults) -> Labels:
    place: dict[str | None, int] = {name: index for index, name in enumerate(task.names)}
    place.update({None: -1, UNCERTAIN: -1})
    for row, cell in zip(manifest.rows, column.cells, strict=True):
        if cell not in place:
            faults.add(
                f"is not a class of the training set ({quoted(task.names, most=8)})."
                f"{did_you_mean(cell, task.names)}",
                row=row,
                column=column.name,
                value=cell,
            )
    chosen = np.array([place.get(cell, -1) for cell in column.cells])
    blank = np.array([cell is None for cell in column.cells], dtype=np.bool_)
    width = len(task.names)
    values = (chosen[:, None] == np.arange(width)).astype(np.int8)
    return Labels(values, _wide(chosen >= 0, width), _wide(blank, width))


def _read_findings(manifest: Manifest, task: Task, column: LabelColumn, faults: Faults) -> Labels:
    place = {name: at for at, name in enumerate(task.names)}
    separator = task.policy.separator or ""
    values = np.zeros((len(manifest), len(task.names)), dtype=np.int8)
    for index, cell in enumerate(column.cells):
        for name in () if cell in {None, UNCERTAIN} else findings_of(cell, separator):
            if name in place:
                values[index, place[name]] = 1
                continue
            faults.add(
                "is no finding of the training set; leave it out, or move a row that has it there",
                row=manifest.rows[index],
                column=column.name,
                value=name,
            )
    blank = np.array([cell is None for cell in column.cells], dtype=np.bool_)
    known = np.array([cell != UNCERTAIN for cell in column.cells], dtype=np.bool_)
    if task.policy.blank == "mask":
        known &= ~blank
    width = len(task.names)
    return Labels(values, _wide(known, width), _wide(blank, width))


def _wide(column: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    return np.repeat(column[:, None], width, axis=1)


def _read_two_valued(
    manifest: Manifest, task: Task, columns: Sequence[LabelColumn], faults: Faults
) -> Labels:
    meaning = _meanings(task)
    shape = (len(manifest), len(columns))
    values, known = np.zeros(shape, dtype=np.int8), np.zeros(shape, dtype=np.bool_)
    blank = np.zeros(shape, dtype=np.bool_)
    for at, column in enumerate(columns):
        words: dict[str | None, str] = {cell: word(cell) for cell in column.counts}
        cells = [words.get(cell) for cell in column.cells]
        for index, cell in enumerate(cells):
            if cell is not None and cell not in meaning:
                faults.add(
                    f"is not a label; expected {_expected(task)}",
                    row=manifest.rows[index],
                    column=column.name,
                    value=manifest.table[column.name].iloc[index],
                )
        found = [meaning.get(cell) for cell in cells]
        values[:, at] = [value or 0 for value in found]
        known[:, at] = [value is not None for value in found]
        blank[:, at] = [cell is None for cell in column.cells]
    return Labels(values, known, blank)


def _meanings(task: Task) -> dict[str | None, int | None]:
    """Return what a cell of a 0/1 column stands for: 1, 0, or None for "not known"."""
    policy = task.policy
    meaning: dict[str | None, int | None] = {None: 0 if policy.blank == "zeros" else None}
    meaning[UNCERTAIN] = {"mask": None, "zeros": 0, "ones": 1}[policy.uncertain]
    numbers: dict[str | None, int | None] = {POSITIVE: 1, NEGATIVE: 0}
    if policy.positive is None:
        return {**meaning, **numbers}
    if task.kind == "multilabel" and spelled(policy.positive) not in TWO_VALUED:
        meaning |= numbers  # columns of 0 and 1 beside those of words
    if task.negative is not None:
        meaning[word(task.negative)] = 0
    return {**meaning, word(spelled(policy.positive)): 1}


def _expected(task: Task) -> str:
    if task.policy.positive is not None:
        negative = "" if task.negative is None else f", {task.negative!r}"
        return f"{task.policy.positive!r}{negative} or nothing"
    return "0, 1, -1 (uncertain) or nothing"
