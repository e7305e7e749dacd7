"""The metrics themselves, each a pure function of labels and scores.

Scores are log-odds. What ranks (AUROC, average precision) uses them as they are; what needs a
probability takes expit(score). A function called `*_score` is better higher, `*_loss` lower.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from scipy.stats import rankdata

from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from cxrlearn.evaluation.inputs import BoolArray, FloatArray


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
    positive, score = check_vectors(y_true, y_score, "auroc_score")
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if why_undefined(positives, negatives) is not None:
        return float("nan")
    wins = rankdata(score)[positive].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def average_precision_score(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> float:
    """Return the area under the steps of the precision-recall curve; higher is better.

    AP = sum over thresholds k of (recall_k - recall_(k-1)) precision_k, every distinct score being
    a threshold, from high to low; rows of equal score enter together. No line is drawn between
    two points, which would be too optimistic (Davis and Goadrich, ICML 2006:233-240). A worthless
    score gives about the prevalence. Only the order of the scores matters.

    Args:
        y_true: (n_samples,) of 0 and 1.
        y_score: (n_samples,) real, higher means more likely positive; infinite values rank.

    Returns:
        A number in (0, 1]; NaN where a class is missing (without negatives it would be 1 for any
        scores), and `why_undefined` says which.

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a score is NaN.

    Example:
        >>> round(average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
        0.8333
    """
    positive, score = check_vectors(y_true, y_score, "average_precision_score")
    positives = int(positive.sum())
    if why_undefined(positives, positive.size - positives) is not None:
        return float("nan")
    distinct, group = np.unique(-score, return_inverse=True)
    found = np.bincount(group[positive], minlength=len(distinct))
    precision = np.cumsum(found) / np.cumsum(np.bincount(group))
    return math.fsum(found * precision) / positives


def brier_loss(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> float:
    """Return the mean squared error of the probability expit(score); lower is better.

    Brier, Monthly Weather Review 1950;78:1-3, in the form for one event: half of Brier's sum over
    both outcomes, as everybody computes it today. Always giving the prevalence p scores p (1 - p).

    Args:
        y_true: (n_samples,) of 0 and 1.
        y_score: (n_samples,) log-odds; infinite values are certain.

    Returns:
        A number in [0, 1]; NaN without rows.

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a score is NaN.

    Example:
        >>> brier_loss([0, 1], [0.0, float("inf")])
        0.125
    """
    positive, score = check_vectors(y_true, y_score, "brier_loss")
    return math.fsum(squared_errors(positive, score)) / score.size if score.size else float("nan")


def squared_errors(positive: BoolArray, score: FloatArray) -> FloatArray:
    """Return (n,) squared errors of the probabilities, exact also where they are near 1."""
    return np.asarray(expit(np.where(positive, -score, score)) ** 2)


def check_vectors(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, function: str
) -> tuple[BoolArray, FloatArray]:
    """Check the two vectors that a metric takes, and return truth and float64 scores.

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a score is NaN.
    """
    truth = np.asarray(y_true)
    score = np.asarray(y_score, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != score.shape:
        raise DataError(
            f"{function} takes two vectors of one length. "
            f"Got shapes {truth.shape} and {score.shape} instead."
        )
    if not np.isin(truth, (0, 1)).all():
        raise DataError(f"The labels of {function} must be 0 or 1. Mask unknown ones first.")
    if np.isnan(score).any():
        raise DataError(f"{int(np.isnan(score).sum())} of {score.size} scores are NaN.")
    return truth == 1, score


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
