"""What evaluation accepts: arrays checked once, rows assigned to patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Kind = Literal["binary", "multilabel", "multiclass"]
KINDS = ("binary", "multilabel", "multiclass")


@dataclass(frozen=True)
class Truth:
    """Labels of N rows and L columns, checked."""

    positive: BoolArray
    """(N, L): known to be positive."""
    known: BoolArray
    """(N, L): False where the label is masked."""

    @property
    def negative(self) -> BoolArray:
        """(N, L): known to be negative."""
        return self.known & ~self.positive

    def select(self, columns: Sequence[int]) -> Truth:
        """Return the labels at `columns` alone."""
        return Truth(self.positive[:, columns], self.known[:, columns])


@dataclass(frozen=True)
class Clusters:
    """Which rows are resampled together."""

    codes: npt.NDArray[np.intp]
    """(N,) in [0, count): each row's cluster, numbered by sorted id, whatever the row order."""
    count: int
    """Number of clusters."""
    unit: Literal["patient", "image"]
    """What a cluster is; "image" where no row names a patient."""
    rows_without_patient: int
    """Rows that name no patient; each is a cluster of its own."""


def check_truth(
    y_true: npt.ArrayLike,
    known: npt.ArrayLike | None,
    *,
    names: Sequence[str],
    kind: str = "multilabel",
) -> Truth:
    """Check labels (N, L) against their mask, names and kind.

    Values where `known` is False are never looked at.

    Raises:
        DataError: shapes differ, a known value is not 0 or 1, names repeat, or a multi-class row
            is not one-hot.
    """
    values = np.asarray(y_true)
    mask = np.ones(values.shape, bool) if known is None else np.asarray(known)
    if values.ndim != 2 or values.shape[1] != len(names):
        raise DataError(
            f"The labels must be an array of (n_samples, {len(names)}), one column for each of "
            f"{', '.join(map(repr, names))}. Got shape {values.shape} instead."
        )
    if len(set(names)) != len(names):
        raise DataError(f"Label names must differ from each other. Got {list(names)} instead.")
    if mask.shape != values.shape or mask.dtype != np.bool_:
        raise DataError(
            f"`known` must be a boolean array of shape {values.shape}. "
            f"Got {mask.dtype} of shape {mask.shape} instead."
        )
    wrong = mask & ~np.isin(values, (0, 1))
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise DataError(
            f"Known labels must be 0 or 1. Got {values[row, column]} for {names[column]!r} in "
            f"row {row} ({int(wrong.sum())} such values)."
        )
    truth = Truth(positive=mask & (values == 1), known=mask)
    _check_kind(truth, kind)
    return truth


def _check_kind(truth: Truth, kind: str) -> None:
    if kind not in KINDS:
        raise DataError(f"`kind` must be one of {', '.join(KINDS)}. Got {kind!r} instead.")
    if kind != "multiclass":
        return
    whole = truth.known.all(axis=1) | ~truth.known.any(axis=1)
    one_hot = truth.positive.sum(axis=1) == truth.known.any(axis=1)
    if not (whole & one_hot).all():
        row = int(np.argmin(whole & one_hot))
        raise DataError(
            "A multi-class row must be masked as a whole or name exactly one class; "
            f"row {row} does not."
        )


def check_scores(
    y_score: npt.ArrayLike,
    truth: Truth,
    *,
    names: Sequence[str],
    without_scores: Collection[str] = (),
) -> FloatArray:
    """Check scores (N, L), as float64; those of masked labels are never looked at.

    Args:
        y_score: (N, L) real.
        truth: the checked labels.
        names: one for each column.
        without_scores: names of the columns that hold no scores.

    Raises:
        DataError: the shape differs from the labels', or a score of a known label is NaN.
    """
    scores = np.asarray(y_score, dtype=np.float64)
    if scores.shape != truth.known.shape:
        raise DataError(
            f"The scores must have the shape of the labels, {truth.known.shape}. "
            f"Got {scores.shape} instead."
        )
    unknown = set(without_scores) - set(names)
    if unknown:
        raise DataError(f"No label is called {sorted(unknown)}. Labels: {list(names)}.")
    scored = np.array([name not in without_scores for name in names], bool)
    missing = np.isnan(scores) & truth.known & scored
    if missing.any():
        row, column = (int(i) for i in np.argwhere(missing)[0])
        raise DataError(
            f"{int(missing.sum())} scores of known labels are NaN, the first for "
            f"{names[column]!r} in row {row}. A score must be a number; mask the label or "
            "leave the row out."
        )
    return scores


def cluster_rows(
    n_rows: int,
    patients: Sequence[str | None] | npt.NDArray[np.object_] | None,
    image_ids: Sequence[str] | None = None,
) -> Clusters:
    """Number the patients 0, 1, … by sorted id; a row without a patient is its own cluster.

    Args:
        n_rows: N.
        patients: (N,) strings, None where unknown, or None where there is no such column.
        image_ids: (N,) the order in which rows without a patient are numbered; without it, the
            order of the rows.

    Raises:
        DataError: a length is not N, or a patient is neither a string nor None.
    """
    owners = [None] * n_rows if patients is None else list(patients)
    images = list(range(n_rows)) if image_ids is None else list(image_ids)
    for what, found in (("patients", owners), ("image_ids", images)):
        if len(found) != n_rows:
            raise DataError(f"`{what}` must have {n_rows} entries. Got {len(found)} instead.")
    odd = next((owner for owner in owners if not (owner is None or isinstance(owner, str))), None)
    if odd is not None:
        raise DataError(f"A patient id must be a string or None. Got {odd!r} instead.")
    numbers: dict[str | None, int] = {
        owner: number for number, owner in enumerate(sorted({o for o in owners if o is not None}))
    }
    codes = np.array([numbers.get(owner, -1) for owner in owners], dtype=np.intp)
    alone = np.flatnonzero(codes < 0)
    in_order = sorted(alone.tolist(), key=images.__getitem__)
    codes[in_order] = len(numbers) + np.arange(len(in_order))
    return Clusters(
        codes=codes,
        count=len(numbers) + len(in_order),
        unit="patient" if numbers else "image",
        rows_without_patient=len(in_order),
    )
