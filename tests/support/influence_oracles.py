"""Influence of patients the slow way: metrics of weighted rows, differentiated numerically.

A metric here is a function of a true label (n,), a score or a decision (n,), and a weight (n,) for
each row. With the data fixed it is a functional: a function of the weights of the rows alone. Its
influence on a patient is its derivative by a factor that all rows of the patient share, at 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Metric = Callable[[npt.NDArray[np.int8], FloatArray, FloatArray], float]
"""Of true labels, scores (logits) or decisions, and weights; NaN where it is undefined."""
Functional = Callable[[FloatArray], float]
"""Of the weights (N,) of all rows."""


# ---- metrics of weighted rows --------------------------------------------------------------------


def weighted_auroc(y_true: npt.NDArray[np.int8], y_score: FloatArray, weights: FloatArray) -> float:
    """Return the weighted share of (positive, negative) pairs in the right order, ties one half."""
    positive = y_true == 1
    won = np.subtract.outer(y_score[positive], y_score[~positive])
    pairs = np.multiply.outer(weights[positive], weights[~positive])
    return _ratio(float(((won > 0) * pairs + 0.5 * (won == 0) * pairs).sum()), float(pairs.sum()))


def weighted_average_precision(
    y_true: npt.NDArray[np.int8], y_score: FloatArray, weights: FloatArray
) -> float:
    """Add up precision times the gain in recall over all distinct scores, as scikit-learn does."""
    positives = float(weights[y_true == 1].sum())
    total = before = 0.0
    for threshold in sorted(set(y_score.tolist()), reverse=True):
        above = y_score >= threshold
        found = float(weights[above & (y_true == 1)].sum())
        if found > before:  # a threshold that passes no positive adds nothing
            total += (found - before) * found / float(weights[above].sum())
        before = found
    return _ratio(total, positives)


def weighted_brier(y_true: npt.NDArray[np.int8], y_score: FloatArray, weights: FloatArray) -> float:
    """Return the mean squared error of the probabilities of logits."""
    return _ratio(float((weights * (_probability(y_score) - y_true) ** 2).sum()), weights.sum())


def weighted_sensitivity(
    y_true: npt.NDArray[np.int8], called: FloatArray, weights: FloatArray
) -> float:
    """Return the share of called rows (`called` 1, else 0) among the positive ones."""
    return _ratio(*_both(y_true == 1, called == 1, weights))


def weighted_specificity(
    y_true: npt.NDArray[np.int8], called: FloatArray, weights: FloatArray
) -> float:
    """Return the share of rows that are not called among the negative ones."""
    return _ratio(*_both(y_true == 0, called == 0, weights))


def weighted_ppv(y_true: npt.NDArray[np.int8], called: FloatArray, weights: FloatArray) -> float:
    """Return the share of positive rows among the called ones."""
    return _ratio(*_both(called == 1, y_true == 1, weights))


def weighted_npv(y_true: npt.NDArray[np.int8], called: FloatArray, weights: FloatArray) -> float:
    """Return the share of negative rows among those that are not called."""
    return _ratio(*_both(called == 0, y_true == 0, weights))


def weighted_f1(y_true: npt.NDArray[np.int8], called: FloatArray, weights: FloatArray) -> float:
    """Return twice the called positive rows over the called rows and the positive rows."""
    both, positive = _both(y_true == 1, called == 1, weights)
    return _ratio(2 * both, positive + float(weights[called == 1].sum()))


def calibration_intercept(
    y_true: npt.NDArray[np.int8], y_score: FloatArray, weights: FloatArray
) -> float:
    """Return the maximum-likelihood a in logit P(y = 1) = a + score."""
    return float(_logistic(y_true, np.ones((1, len(y_score))), y_score, weights)[0])


def calibration_slope(
    y_true: npt.NDArray[np.int8], y_score: FloatArray, weights: FloatArray
) -> float:
    """Return the maximum-likelihood b in logit P(y = 1) = a + b · score, a free as well."""
    design = np.stack([np.ones_like(y_score), y_score])
    return float(_logistic(y_true, design, np.zeros_like(y_score), weights)[1])


def _logistic(
    y_true: npt.NDArray[np.int8], design: FloatArray, offset: FloatArray, weights: FloatArray
) -> FloatArray:
    """Fit by Newton steps from zero, halved while the likelihood falls; NaN without an optimum."""
    beta = np.zeros(len(design))
    nothing = np.full(len(design), math.nan)
    if len(set(y_true[weights > 0].tolist())) < 2:
        return nothing
    for _ in range(100):
        step = _newton_step(y_true, design, offset + beta @ design, weights)
        if np.isnan(step).any():
            return nothing
        if np.abs(step).max() < 1e-6:  # two more steps square that error twice
            beta = beta + step
            return beta + _newton_step(y_true, design, offset + beta @ design, weights)
        before = _log_likelihood(y_true, offset + beta @ design, weights)
        while _log_likelihood(y_true, offset + (beta + step) @ design, weights) < before:
            step = step / 2
        beta = beta + step
    return nothing


def _newton_step(
    y_true: npt.NDArray[np.int8], design: FloatArray, logit: FloatArray, weights: FloatArray
) -> FloatArray:
    information = (design * weights * _probability(logit) * _probability(-logit)) @ design.T
    if np.linalg.cond(information) > 1e14:  # the classes are separated, or all scores are equal
        return np.full(len(design), math.nan)
    gradient = design @ (weights * (y_true - _probability(logit)))
    return np.asarray(np.linalg.solve(information, gradient), dtype=np.float64)


def _log_likelihood(y_true: npt.NDArray[np.int8], logit: FloatArray, weights: FloatArray) -> float:
    return -float((weights * np.logaddexp(0, np.where(y_true == 1, -logit, logit))).sum())


def _probability(logit: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-np.logaddexp(0, -logit)), dtype=np.float64)


def _both(of: BoolArray, are: BoolArray, weights: FloatArray) -> tuple[float, float]:
    return float(weights[of & are].sum()), float(weights[of].sum())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


# ---- functionals ---------------------------------------------------------------------------------


def of_label(
    metric: Metric,
    y_true: npt.NDArray[np.int8],
    y_score: FloatArray,
    known: BoolArray | None = None,
) -> Functional:
    """Return the metric of one label as a functional; rows where `known` is False do not count."""
    rows = np.ones(len(y_true), dtype=bool) if known is None else known
    return lambda weights: metric(y_true[rows], y_score[rows], weights[rows])


def macro(labels: Sequence[Functional]) -> Functional:
    """Return the unweighted mean of the labels' metrics."""
    return lambda weights: sum(label(weights) for label in labels) / len(labels)


def weighted(
    labels: Sequence[Functional], y_true: npt.NDArray[np.int8], known: BoolArray | None = None
) -> Functional:
    """Return the mean of the labels' metrics, each weighted by its positive rows.

    Args:
        labels: L functionals.
        y_true: (N, L).
        known: (N, L).
    """
    positive = (y_true == 1) & (True if known is None else known)

    def average(weights: FloatArray) -> float:
        share = weights @ positive
        values = np.array([label(weights) for label in labels])
        return float((share * values).sum() / share.sum())

    return average


def micro(
    metric: Metric,
    y_true: npt.NDArray[np.int8],
    y_score: FloatArray,
    known: BoolArray | None = None,
) -> Functional:
    """Return the metric of all known (row, label) pairs as one label; arguments are (N, L)."""
    rows = np.ones(y_true.shape, dtype=bool) if known is None else known

    def pooled(weights: FloatArray) -> float:
        spread = np.broadcast_to(weights[:, None], y_true.shape)
        return metric(y_true[rows], y_score[rows], spread[rows])

    return pooled


def difference(a: Functional, b: Functional) -> Functional:
    """Return a - b on the same rows."""
    return lambda weights: a(weights) - b(weights)


# ---- influence -----------------------------------------------------------------------------------


def numeric_influence(
    functional: Functional,
    weights: FloatArray,
    patients: Sequence[object] | npt.NDArray[np.generic],
    *,
    step: float = 1e-5,
) -> FloatArray:
    """Return the derivative of the functional by the factor of each patient, at 1.

    Central differences: their error is about step² times the third derivative, plus the rounding
    of the functional over the step; some 1e-9 for these metrics.

    Args:
        functional: of weights.
        weights: (N,) weights of the rows, usually ones.
        patients: (N,) whose row it is.
        step: change of a factor.

    Returns:
        (n_patients,) in the order of the sorted patient ids.
    """
    influence = []
    for rows in rows_of_patients(patients):
        change = np.where(rows, step, 0.0)
        up, down = functional(weights * (1 + change)), functional(weights * (1 - change))
        influence.append((up - down) / (2 * step))
    return np.array(influence, dtype=np.float64)


def jackknife_values(
    functional: Functional,
    weights: FloatArray,
    patients: Sequence[object] | npt.NDArray[np.generic],
) -> FloatArray:
    """Return the functional without each patient, (n_patients,) by sorted id; NaN: undefined."""
    return np.array(
        [functional(np.where(rows, 0.0, weights)) for rows in rows_of_patients(patients)],
        dtype=np.float64,
    )


def rows_of_patients(patients: Sequence[object] | npt.NDArray[np.generic]) -> list[BoolArray]:
    """Return which rows (N,) are of each patient, by sorted id."""
    owners = np.asarray(patients)
    return [owners == owner for owner in np.unique(owners)]
