"""Intervals by resampling patients: every metric of every label on the same replicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cxrlearn.evaluation.segments import rank_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cxrlearn.evaluation.inputs import Clusters, FloatArray, Truth

CONFIDENCE = 0.95
"""Nominal coverage of every interval."""
FLAGGED_SHARE = 0.05
"""Above this share of undefined replicates an interval is flagged."""
REFUSED_SHARE = 0.5
"""Above this share of undefined replicates there is no interval."""
LOST_A_CLASS = "lost a class"
"""What happens to a replicate in which an AUROC or an average precision is undefined."""
_BLOCK = 16
"""Replicates worked on at once: long enough inner loops, and sums that stay in cache."""


class Statistic(Protocol):
    """Numbers that a set has, and each of its replicates."""

    def on(self, counts: FloatArray) -> FloatArray:
        """Return (K, R) numbers for (clusters, R) counts of patients, NaN where undefined."""


def patient_counts(
    n_clusters: int, n_replicates: int, rng: np.random.Generator, *, block: int = _BLOCK
) -> Iterator[FloatArray]:
    """Draw how often each patient is in each replicate: `n_clusters` draws with replacement.

    The stream of draws, and so every replicate, is the same for any `block`.

    Yields:
        (n_clusters, ≤ block) whole numbers as float64, `n_replicates` columns in all.
    """
    for start in range(0, n_replicates, block):
        columns = min(block, n_replicates - start)
        counts = np.empty((columns, n_clusters))
        for replicate in range(columns):
            drawn = rng.integers(0, n_clusters, size=n_clusters)
            counts[replicate] = np.bincount(drawn, minlength=n_clusters)
        yield np.ascontiguousarray(counts.T)


def resample(
    statistics: Sequence[Statistic],
    n_clusters: int,
    *,
    n_replicates: int,
    rng: np.random.Generator,
) -> list[FloatArray]:
    """Return (K, R) numbers of each statistic, all on the same R replicates of patients.

    Args:
        statistics: what to compute on every replicate.
        n_clusters: number of patients, at least 1.
        n_replicates: R.
        rng: the only source of randomness.
    """
    parts: list[list[FloatArray]] = [[] for _ in statistics]
    for counts in patient_counts(n_clusters, n_replicates, rng):
        for statistic, part in zip(statistics, parts, strict=True):
            part.append(statistic.on(counts))
    return [np.concatenate(part, axis=1) for part in parts]


def patient_bootstrap_auroc(
    truth: Truth,
    y_score: FloatArray,
    clusters: Clusters,
    *,
    n_replicates: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Return the AUROC of every label in every replicate, all labels sharing the same patients.

    The AUROC is exact, ties counting one half: pairs are counted in whole numbers below 2^53, so
    nothing depends on the order of rows or labels.

    Args:
        truth: labels of (N, L).
        y_score: (N, L) float64, not NaN where known.
        clusters: which rows are drawn together.
        n_replicates: R.
        rng: the only source of randomness.

    Returns:
        (R, L), NaN where a replicate has no positive or no negative row of that label.
    """
    labels = [
        rank_pairs(
            truth.positive[known, label],
            y_score[known, label],
            clusters.codes[known],
            clusters.count,
        )
        for label, known in enumerate(truth.known.T)
    ]
    if clusters.count == 0 or not labels:
        return np.full((n_replicates, len(labels)), np.nan)
    found = resample(labels, clusters.count, n_replicates=n_replicates, rng=rng)
    return np.ascontiguousarray(np.concatenate(found).T)


@dataclass(frozen=True)
class Interval:
    """A percentile interval, or the reason why there is none."""

    low: float | None
    """Lower limit."""
    high: float | None
    """Upper limit."""
    undefined: int
    """Replicates left out because a class was missing in them."""
    reason: str | None
    """Why there are no limits."""
    caution: str | None
    """What to know before trusting the limits."""


def percentile_interval(replicates: FloatArray, *, cause: str = LOST_A_CLASS) -> Interval:
    """Return the central 95 % of the defined replicates (R,), NaN marking undefined ones.

    Efron's percentile interval, quantiles interpolated linearly. With more than half of the
    replicates undefined there are no limits; with more than 5 % they carry a caution.

    Args:
        replicates: (R,) of one number.
        cause: what an undefined replicate did, such as "lost a class".
    """
    defined = replicates[~np.isnan(replicates)]
    undefined = len(replicates) - len(defined)
    lost = f"{undefined:,} of {len(replicates):,} replicates {cause}"
    if undefined > REFUSED_SHARE * len(replicates):
        return Interval(None, None, undefined, f"no interval: {lost}", None)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(limit) for limit in np.quantile(defined, (tail, 1 - tail)))
    caution = f"{lost} and are left out" if undefined > FLAGGED_SHARE * len(replicates) else None
    return Interval(low, high, undefined, None, caution)
