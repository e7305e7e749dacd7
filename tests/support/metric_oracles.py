"""Metrics the slow way, row by row in fractions."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray = npt.NDArray[np.float64]


def average_precision_by_thresholds(y_true: Sequence[int], y_score: Sequence[float]) -> float:
    """Walk down all distinct scores; at each, count afresh who is at or above it."""
    positives, total, recall_before = sum(y_true), Fraction(0), Fraction(0)
    if positives in {0, len(y_true)}:
        return math.nan
    for threshold in sorted(set(y_score), reverse=True):
        called = [y for y, s in zip(y_true, y_score, strict=True) if s >= threshold]
        recall = Fraction(sum(called), positives)
        total += (recall - recall_before) * Fraction(sum(called), len(called))
        recall_before = recall
    return float(total)


def brier_by_rows(y_true: Sequence[int], y_score: Sequence[float]) -> float:
    """Mean of squared errors, with probabilities from the definition of the logistic function."""
    errors = [(Fraction(_probability(s)) - y) ** 2 for y, s in zip(y_true, y_score, strict=True)]
    return float(sum(errors) / len(errors)) if errors else math.nan


def bins_by_rank(y_score: Sequence[float], n_bins: int = 15) -> list[int]:
    """Place each probability by the mean of its zero-based ranks plus one half, over n."""
    probabilities = [_probability(s) for s in y_score]
    ordered = sorted(probabilities)
    places = []
    for p in probabilities:
        ranks = [i for i, other in enumerate(ordered) if other == p]
        middle = Fraction(sum(ranks), len(ranks)) + Fraction(1, 2)
        places.append(math.floor(n_bins * middle / len(ordered)))
    return places


def calibration_error_by_bins(
    y_true: Sequence[int], y_score: Sequence[float], bins: Sequence[int]
) -> float:
    """Weigh the gap of each bin by its share of rows."""
    total = Fraction()
    for number in set(bins):
        rows = [i for i, b in enumerate(bins) if b == number]
        share = Fraction(sum(int(y_true[i]) for i in rows), len(rows))
        mean = sum((Fraction(_probability(y_score[i])) for i in rows), Fraction()) / len(rows)
        total += Fraction(len(rows), len(bins)) * Fraction(abs(share - mean))
    return float(total) if bins else math.nan


def _probability(score: float) -> float:
    if score < 0:
        return math.exp(score) / (1 + math.exp(score))
    return 1 / (1 + math.exp(-score))
