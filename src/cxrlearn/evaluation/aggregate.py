"""From images to studies or patients, before anything is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import log_expit

from cxrlearn.errors import DataError, UsageError
from cxrlearn.evaluation.inputs import check_truth, cluster_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrlearn.evaluation.inputs import BoolArray, FloatArray

HOWS = ("mean", "max")


@dataclass(frozen=True)
class Aggregated:
    """G groups of rows, each now a row of its own."""

    y_true: npt.NDArray[np.int8]
    """(G, L) of 0 and 1; 0 where unknown."""
    known: BoolArray
    """(G, L): True where any row of the group is known."""
    y_score: FloatArray
    """(G, L) log-odds; NaN where a row of the group has none."""
    groups: tuple[str | None, ...]
    """(G,) by sorted id; then None for each row without one, a group of its own."""
    codes: npt.NDArray[np.intp]
    """(N,) in [0, G): the group of each row given."""


def aggregate_rows(
    y_true: npt.ArrayLike,
    known: npt.ArrayLike | None,
    y_score: npt.ArrayLike,
    groups: Sequence[str | None],
    *,
    how: str = "mean",
    kind: str = "multilabel",
) -> Aggregated:
    """Make one row of all rows of a group, such as the images of a study or of a patient.

    The score of a group is the log-odds of the mean probability of its rows, or the highest of
    their log-odds; all rows enter, whether their label is known or not, because a prediction is
    made without knowing. The truth of a group is 1 if any known row is 1, 0 if all known rows
    are 0, and masked if none is known. For classes all known rows of a group must agree, and the
    highest log-odds of each class no longer belong to probabilities that add up to 1.

    Args:
        y_true: (N, L) of 0 and 1; multi-class: one-hot.
        known: (N, L) bool, False where the label is unknown; None: all known.
        y_score: (N, L) float64 log-odds.
        groups: (N,) ids; a row without one stays alone.
        how: "mean" or "max".
        kind: "binary", "multilabel" or "multiclass".

    Returns:
        The groups; nothing but the place of rows without an id depends on the order of rows.

    Raises:
        UsageError: `how` is neither "mean" nor "max".
        DataError: shapes or values do not fit, or rows of one group name different classes.
    """
    if how not in HOWS:
        raise UsageError(f"Rows are aggregated by `mean` or `max`. Got {how!r} instead.")
    labels = [str(i) for i in range(np.shape(y_true)[1] if np.ndim(y_true) == 2 else 0)]
    truth = check_truth(y_true, known, names=labels, kind=kind)
    scores = np.asarray(y_score, dtype=np.float64)
    if scores.shape != truth.known.shape:
        raise DataError(
            f"The scores must have the shape of the labels, {truth.known.shape}. "
            f"Got {scores.shape} instead."
        )
    clusters = cluster_rows(len(scores), groups)
    ids = sorted({group for group in groups if group is not None})
    named = (*ids, *[None] * clusters.rows_without_patient)
    positive = _any(truth.positive, clusters.codes)
    if kind == "multiclass":
        _check_agreement(positive, named)
    merge = _mean_probability if how == "mean" else _highest
    return Aggregated(
        y_true=positive.astype(np.int8),
        known=_any(truth.known, clusters.codes),
        y_score=np.stack([merge(score, clusters.codes) for score in scores.T], axis=1),
        groups=named,
        codes=clusters.codes,
    )


def _starts(codes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return where each group begins among its rows in order; no group is empty."""
    sizes = np.bincount(codes)
    return np.asarray(np.cumsum(sizes) - sizes, dtype=np.intp)


def _any(flags: BoolArray, codes: npt.NDArray[np.intp]) -> BoolArray:
    ordered = flags[np.argsort(codes, kind="stable")]
    return np.asarray(np.logical_or.reduceat(ordered, _starts(codes), axis=0))


def _highest(score: FloatArray, codes: npt.NDArray[np.intp]) -> FloatArray:
    ordered = score[np.argsort(codes, kind="stable")]
    return np.asarray(np.maximum.reduceat(ordered, _starts(codes)))


def _mean_probability(score: FloatArray, codes: npt.NDArray[np.intp]) -> FloatArray:
    """Return the log-odds of the mean probability of each group.

    log(sum of p) - log(sum of 1 - p), both from log-probabilities: near 0 and 1 nothing rounds off.
    """
    ordered, starts = score[np.lexsort((score, codes))], _starts(codes)
    with np.errstate(invalid="ignore"):  # a missing score makes its group missing
        yes = np.logaddexp.reduceat(log_expit(ordered), starts)
        no = np.logaddexp.reduceat(log_expit(-ordered), starts)
    # Rows of one score keep it to the last bit: scores are compared with thresholds and each other.
    lowest = np.minimum.reduceat(ordered, starts)
    alike = lowest == np.maximum.reduceat(ordered, starts)
    return np.where(alike, lowest, yes - no)


def _check_agreement(positive: BoolArray, groups: Sequence[str | None]) -> None:
    several = np.flatnonzero(positive.sum(axis=1) > 1)
    if several.size:
        raise DataError(
            f"The rows of one group must name one class. {len(several)} groups name several, the "
            f"first is {groups[several[0]]!r}. Aggregate by what shares a diagnosis, or mask them."
        )
