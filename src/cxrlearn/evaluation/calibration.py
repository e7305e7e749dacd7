"""Whether probabilities mean what they say: calibration error, intercept, slope and bins."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from cxrlearn.evaluation.intervals import Owners, real_estimate, undefined
from cxrlearn.evaluation.jackknife import Jackknife
from cxrlearn.evaluation.metrics import check_vectors, why_undefined
from cxrlearn.evaluation.results import Calibration, CalibrationBin

if TYPE_CHECKING:
    import numpy.typing as npt

    from cxrlearn.evaluation.inputs import BoolArray, FloatArray
    from cxrlearn.evaluation.results import Estimate

BINS = 15
"""Bins of equal count; fewer where probabilities tie or rows are few."""
_STEPS = 100
"""Newton steps of the slope before it is given up; some 10 are usual."""
_NOTHING_TO_GAIN = 1e-18
"""Log-likelihood per row that one more step could gain; the last one is taken."""


def calibration_error_loss(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> float:
    """Return the expected calibration error over bins of equal count; lower is better.

    ECE = sum over bins of (rows of the bin / n) |share of positives - mean probability|, the
    probability being expit(score) (Naeini, Cooper and Hauskrecht, AAAI 2015:2901-2907, with bins
    of equal count, which Roelofs et al., AISTATS 2022, found less biased than those of equal
    width). On few rows it is above 0 even for perfect probabilities.

    Args:
        y_true: (n_samples,) of 0 and 1.
        y_score: (n_samples,) log-odds.

    Returns:
        A number in [0, 1]; NaN without rows.

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a score is NaN.
    """
    positive, score = check_vectors(y_true, y_score, "calibration_error_loss")
    if not score.size:
        return float("nan")
    excess = expit(score) - positive
    gaps = [abs(math.fsum(excess[rows])) for rows in _by_bin(bin_rows(score))]
    return math.fsum(gaps) / score.size


def bin_rows(score: FloatArray) -> npt.NDArray[np.intp]:
    """Assign rows (n,) to at most 15 bins of equal count by rising probability.

    Equal probabilities are never split: all m rows of one probability go where the middle of
    their ranks lies, into bin floor(15 (rows below + m / 2) / n). Without ties the bins differ by
    at most one row; with ties, or fewer than 15 rows, some bins stay empty and are left out. The
    order of rows cannot matter.

    Returns:
        (n,) numbers of bins, 0, 1, …, none of them empty.
    """
    _, group = np.unique(expit(score), return_inverse=True)
    size = np.bincount(group)
    before = np.cumsum(size) - size
    place = (BINS * (2 * before + size)) // (2 * max(score.size, 1))
    _, number = np.unique(place, return_inverse=True)
    return np.asarray(number[group], dtype=np.intp)


def calibrate(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    codes: npt.NDArray[np.intp] | None = None,
    *,
    unit: str = "patient",
) -> Calibration:
    """Describe the calibration of one label.

    Intercept a: P(y = 1) = expit(a + score), the score as offset. Slope b: P(y = 1) =
    expit(c + b score) by maximum likelihood (Cox, Biometrika 1958;45:562-565; Van Calster et al.,
    BMC Medicine 2019;17:230). The slope exists only where the scores of the two classes overlap
    (Albert and Anderson, Biometrika 1984;71:1-10). Without a patient, either moves by one Newton
    step from the fit on all rows.

    Args:
        y_true: (n_samples,) of 0 and 1, known rows only.
        y_score: (n_samples,) log-odds.
        codes: (n_samples,) >= 0, each row's patient; None: every row is a patient.
        unit: what a code stands for, in reasons.

    Raises:
        DataError: lengths differ, a label is not 0 or 1, or a score is NaN.
    """
    positive, score = check_vectors(y_true, y_score, "calibrate")
    order = np.lexsort((positive, score))  # sums then do not depend on the order of rows
    positive, score = positive[order], score[order]
    owner = np.arange(score.size)
    if codes is not None:
        owner = np.unique(codes[order], return_inverse=True)[1]
    rows, positives = score.size, int(positive.sum())
    if not rows:
        nothing = undefined("no known rows")
        return Calibration(None, None, nothing, nothing, ())
    probability = expit(score)
    intercept, slope = _fit(positive, score, owner, unit)
    return Calibration(
        prevalence=positives / rows,
        mean_probability=math.fsum(probability) / rows,
        intercept=intercept,
        slope=slope,
        bins=tuple(
            CalibrationBin(
                rows=len(members),
                probability=math.fsum(probability[members]) / len(members),
                share=int(positive[members].sum()) / len(members),
            )
            for members in _by_bin(bin_rows(score))
        ),
    )


def _by_bin(bins: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    order = np.argsort(bins, kind="stable")
    return np.split(order, np.cumsum(np.bincount(bins))[:-1])


def _fit(
    positive: BoolArray, score: FloatArray, owner: npt.NDArray[np.intp], unit: str
) -> tuple[Estimate, Estimate]:
    """Return intercept and slope."""
    reason = why_undefined(int(positive.sum()), int((~positive).sum()))
    if reason is None and np.isinf(score).any():
        reason = f"{int(np.isinf(score).sum())} log-odds are infinite"
    if reason is not None:
        return undefined(reason), undefined(reason)
    owners = Owners(len(np.unique(owner[positive])), len(np.unique(owner[~positive])), unit)
    none, cautions = owners.why_no_interval(), owners.caution()
    intercept = _intercept(positive, score)
    line, why = _slope(positive, score)
    first = _moved(positive, intercept + score, np.ones((1, len(score))), owner, intercept)
    first_estimate = real_estimate(first, reason=none, cautions=cautions)
    if line is None:
        return first_estimate, undefined(why or "")
    design = np.stack([score - score.mean(), np.ones_like(score)])
    second = _moved(positive, line[0] + line[1] * score, design, owner, line[1])
    return first_estimate, real_estimate(second, reason=none, cautions=cautions)


def _moved(
    positive: BoolArray,
    fitted: FloatArray,
    design: FloatArray,
    owner: npt.NDArray[np.intp],
    value: float,
) -> Jackknife:
    """Return the first coefficient of a logistic fit on `design` (K, n), without each patient."""
    probability = expit(fitted)
    gradient = _by_owner(design * (positive - probability), owner)
    weighted = design * (probability * expit(-fitted))
    products = (design[:, None] * weighted[None]).reshape(len(design) ** 2, -1)
    own = _by_owner(products, owner)
    left = (own.sum(axis=0) - own).reshape(-1, len(design), len(design))
    singular = np.abs(np.linalg.det(left)) < np.finfo(float).tiny
    left[singular] = np.eye(len(design))
    shift = -np.linalg.solve(left, gradient[:, :, None])[:, 0, 0]
    return Jackknife(value, value + np.where(singular, np.nan, shift))


def _by_owner(values: FloatArray, owner: npt.NDArray[np.intp]) -> FloatArray:
    """Sum (K, n) over the rows of each patient, (P, K)."""
    return np.stack([np.bincount(owner, row) for row in values], axis=1)


def _intercept(positive: BoolArray, score: FloatArray) -> float:
    base, expected = float(logit(positive.mean())), float(positive.sum())
    low, high = base - float(score.max()), base - float(score.min())
    if low == high:  # constant scores
        return low
    return float(brentq(lambda a: float(expit(a + score).sum()) - expected, low - 1, high + 1))


def _slope(positive: BoolArray, score: FloatArray) -> tuple[tuple[float, float] | None, str | None]:
    """Return constant and slope of a logistic fit on the scores, or why there is none."""
    spread = float(score.std())
    if score.min() == score.max() or spread == 0:
        return None, "no slope: all probabilities are equal"
    least, most = float(score[positive].min()), float(score[positive].max())
    if least >= score[~positive].max() or most <= score[~positive].min():
        return None, "no slope: the probabilities separate the classes"
    design = np.stack([np.ones_like(score), (score - score.mean()) / spread])
    found = _newton(positive, design)
    if found is None:
        return None, "no slope: its fit did not converge"
    slope = found[1] / spread
    return (found[0] - slope * float(score.mean()), slope), None


def _newton(positive: BoolArray, design: FloatArray) -> tuple[float, float] | None:
    """Fit a logistic regression on `design` (2, n); return both coefficients.

    The log-loss is convex: a Newton step that does not lower it is halved until it does.
    """
    sign = np.where(positive, -1.0, 1.0)
    weights = np.array([logit(positive.mean()), 0.0])
    loss = _log_loss(weights, design, sign)
    for _ in range(_STEPS):
        probability = expit(weights @ design)
        gradient = design @ (probability - positive)
        curvature = (design * (probability * expit(-(weights @ design)))) @ design.T
        if abs(np.linalg.det(curvature)) < np.finfo(float).tiny:
            break  # classes separated but for rounding: the slope has run away
        step = np.linalg.solve(curvature, gradient)
        if gradient @ step < _NOTHING_TO_GAIN * len(sign):
            return float((weights - step)[0]), float((weights - step)[1])
        size = 1.0
        while size > 1e-6 and _log_loss(weights - size * step, design, sign) > loss:
            size /= 2
        weights = weights - size * step
        loss = _log_loss(weights, design, sign)
    return None


def _log_loss(weights: FloatArray, design: FloatArray, sign: FloatArray) -> float:
    return float(np.logaddexp(0, sign * (weights @ design)).sum())
