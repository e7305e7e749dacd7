"""Strata and groups the slow way: pairs one by one, rows one by one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def auroc_by_pairs_within(
    y_true: Sequence[int], y_score: Sequence[float], strata: Sequence[object]
) -> float:
    """Count won pairs of equal strata, ties as one half; NaN without a pair."""
    rows = list(zip(y_true, y_score, strata, strict=True))
    pairs = [
        (p > n) + 0.5 * (p == n)
        for y_p, p, stratum_p in rows
        for y_n, n, stratum_n in rows
        if (y_p, y_n) == (1, 0) and stratum_p == stratum_n
    ]
    return sum(pairs) / len(pairs) if pairs else math.nan


def mean_log_odds(scores: Sequence[float]) -> float:
    """Return the log-odds of the plain mean of probabilities."""
    mean = sum(1 / (1 + math.exp(-s)) for s in scores) / len(scores)
    return math.log(mean / (1 - mean))
