"""The metrics themselves, each a pure function of labels and scores."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from cxrlearn.errors import DataError


def auroc_score(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> float:
    """Return the area under the ROC curve; higher is better.

    It is the share of (positive, negative) pairs in which the positive has the higher score, ties
    counting one half: the Mann-Whitney statistic (Hanley and McNeil, Radiology 1982;143:29-36),
    computed from mid-ranks. Only the order of the scores matters.

    Args:
        y_true: (n_samples,) of 0 and 1.
        y_score: (n_samples,) real, higher means more likely positive; infinite values rank.

    Returns:
        A number in [0, 1]; NaN where a class is missing, and `why_undefined` says which.

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a score is NaN.

    Example:
        >>> auroc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
    """
    truth = np.asarray(y_true)
    score = np.asarray(y_score, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != score.shape:
        raise DataError(
            "auroc_score takes two vectors of one length. "
            f"Got shapes {truth.shape} and {score.shape} instead."
        )
    if not np.isin(truth, (0, 1)).all():
        raise DataError("The labels of auroc_score must be 0 or 1. Mask unknown ones first.")
    if np.isnan(score).any():
        raise DataError(f"{int(np.isnan(score).sum())} of {score.size} scores are NaN.")
    positive = truth == 1
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if why_undefined(positives, negatives) is not None:
        return float("nan")
    wins = rankdata(score)[positive].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def why_undefined(positives: int, negatives: int) -> str | None:
    """Say why an AUROC over these counts of known rows does not exist; None where it does.

    Example:
        >>> why_undefined(0, 231)
        'no positives among 231 known rows'
    """
    known = positives + negatives
    if known == 0:
        return "no known rows"
    rows = f"{known:,} known row{'s' if known > 1 else ''}"
    if positives == 0:
        return f"no positives among {rows}"
    if negatives == 0:
        return f"no negatives among {rows}"
    return None


def macro_mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Average each row of (R, L) over its L ≥ 1 labels; NaN where a label is NaN.

    The sums are exact before their one rounding, so the order of labels cannot show.
    """
    return np.array([math.fsum(row) / len(row) for row in values.tolist()], dtype=np.float64)
