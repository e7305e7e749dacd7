"""AUROC within the parts of a set: by sex, age, view or any other column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrlearn.errors import DataError
from cxrlearn.evaluation.averages import NOTHING_TO_AVERAGE, mean_estimate
from cxrlearn.evaluation.intervals import undefined
from cxrlearn.evaluation.metric_table import label_estimate, measure
from cxrlearn.evaluation.results import Subgroup, SubgroupLabel
from cxrlearn.evaluation.scored_set import scored_set

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cxrlearn.evaluation.scored_set import ScoredSet

BLANK = "(blank)"
"""The subgroup of rows without a value."""


def evaluate_subgroups(  # noqa: PLR0913 - as `evaluate`, keyword-only
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    *,
    known: npt.ArrayLike | None = None,
    names: Sequence[str],
    kind: str,
    patients: Sequence[str | None] | npt.NDArray[np.object_] | None = None,
    image_ids: Sequence[str] | None = None,
    not_scored: Mapping[str, str] | None = None,
    columns: Mapping[str, Sequence[str | None]],
) -> tuple[Subgroup, ...]:
    """Evaluate every part of a set that shares one value of a column, as a set of its own.

    A subgroup is never too small to be
    listed: what it cannot tell is None with a reason, what rests on few patients is marked.

    Args:
        y_true: as in `evaluate`, and so all others but one.
        y_score: as in `evaluate`.
        known: as in `evaluate`.
        names: as in `evaluate`.
        kind: as in `evaluate`.
        patients: as in `evaluate`.
        image_ids: as in `evaluate`.
        not_scored: as in `evaluate`.
        columns: (N,) values of each column; None or blank where there is none.

    Returns:
        For each column in the order given, its subgroups by sorted value, `(blank)` last.

    Raises:
        DataError: shapes, values or names do not fit; a score of a known label is NaN.
    """
    data = scored_set(
        y_true,
        y_score,
        known=known,
        names=names,
        kind=kind,
        patients=patients,
        image_ids=image_ids,
        not_scored=not_scored,
    )
    return tuple(
        _subgroup(data.rows(values == value), column, value)
        for column, values in checked_columns(columns, len(data.scores)).items()
        for value in sorted(set(values.tolist()), key=lambda text: (text == BLANK, text))
    )


def _subgroup(data: ScoredSet, column: str, value: str) -> Subgroup:
    averaged = data.ranked()
    found = {(label, "auroc"): measure(data, label, "auroc") for label in averaged}
    counts = [data.counts(label) for label in range(len(data.names))]
    labels = tuple(
        SubgroupLabel(name, label_estimate(data, i, "auroc", found), *counts[i])
        for i, name in enumerate(data.names)
    )
    macro = undefined(NOTHING_TO_AVERAGE)
    if len(averaged) == 1:
        macro = labels[averaged[0]].auroc
    elif averaged:
        macro = mean_estimate(data, averaged, list(found.values()))
    return Subgroup(
        column=column,
        value=value,
        rows=len(data.scores),
        clusters=data.clusters.count,
        macro=macro,
        macro_labels=tuple(data.names[i] for i in averaged),
        labels=labels,
    )


def checked_columns(
    columns: Mapping[str, Sequence[str | None]], n_rows: int
) -> dict[str, npt.NDArray[np.object_]]:
    """Return the values of each column as text without outer blanks; nothing is `(blank)`.

    Raises:
        DataError: a column does not have `n_rows` values.
    """
    checked = {}
    for column, values in columns.items():
        if len(values) != n_rows:
            raise DataError(
                f"Column {column!r} must have {n_rows} values. Got {len(values)} instead."
            )
        texts = [("" if value is None else value).strip() or BLANK for value in values]
        checked[column] = np.array(texts, dtype=object)
    return checked
