"""AUROC and its patient bootstrap the slow way: pairs counted one by one, patients copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FloatArray = npt.NDArray[np.float64]


def auroc_by_pairs(y_true: Sequence[int], y_score: Sequence[float]) -> float | None:
    """Count won pairs, ties as one half; None without a pair."""
    positives = [s for y, s in zip(y_true, y_score, strict=True) if y == 1]
    negatives = [s for y, s in zip(y_true, y_score, strict=True) if y == 0]
    pairs = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    return sum(pairs) / len(pairs) if pairs else None


def bootstrap_by_copying(
    y_true: npt.NDArray[np.int8],
    known: npt.NDArray[np.bool_],
    y_score: FloatArray,
    patients: Sequence[str],
    drawn_counts: Iterable[FloatArray],
) -> FloatArray:
    """Build each replicate's rows by copying those of drawn patients; scikit-learn scores them.

    `drawn_counts` holds blocks of (patients by sorted id, replicates).
    """
    owners = sorted(set(patients))
    rows_of = [[i for i, p in enumerate(patients) if p == owner] for owner in owners]
    replicates = []
    for block in drawn_counts:
        for counts in block.T:
            rows = [
                row
                for owned, times in zip(rows_of, counts, strict=True)
                for _ in range(int(times))
                for row in owned
            ]
            replicates.append(
                [
                    _score(y_true[rows, i], known[rows, i], y_score[rows, i])
                    for i in range(y_true.shape[1])
                ]
            )
    return np.array(replicates)


def _score(y: npt.NDArray[np.int8], known: npt.NDArray[np.bool_], s: FloatArray) -> float:
    if len(set(y[known].tolist())) < 2:
        return float("nan")
    return float(roc_auc_score(y[known], s[known]))
