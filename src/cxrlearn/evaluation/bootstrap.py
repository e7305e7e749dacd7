"""Intervals by resampling patients: every replicate of every label from one sorted pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxrlearn.evaluation.inputs import BoolArray, Clusters, FloatArray, Truth

CONFIDENCE = 0.95
"""Nominal coverage of every interval."""
FLAGGED_SHARE = 0.05
"""Above this share of undefined replicates an interval is flagged."""
REFUSED_SHARE = 0.5
"""Above this share of undefined replicates there is no interval."""
_BLOCK = 16
"""Replicates worked on at once: long enough inner loops, and sums that stay in cache."""


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
        _rank(
            truth.positive[known, label],
            y_score[known, label],
            clusters.codes[known],
            clusters.count,
        )
        for label, known in enumerate(truth.known.T)
    ]
    replicates = np.full((n_replicates, len(labels)), np.nan)
    if clusters.count == 0:
        return replicates
    start = 0
    for counts in patient_counts(clusters.count, n_replicates, rng):
        for label, ranked in enumerate(labels):
            replicates[start : start + counts.shape[1], label] = ranked.auroc(counts)
        start += counts.shape[1]
    return replicates


@dataclass(frozen=True)
class _RankedLabel:
    """One label sorted once: rows of the rarer class are anchors, the others lie in between.

    With A distinct anchor scores the other class falls into 2A + 1 segments: below the first
    anchor, tied with it, between it and the second, … All rows of a segment win or lose against
    the same anchors, so a replicate needs only the weight of each segment.
    """

    anchors: csr_array
    """(A, clusters): anchor rows of each distinct score and patient."""
    segments: csr_array
    """(2A + 1, clusters): rows of the other class of each segment and patient."""

    def auroc(self, counts: FloatArray) -> FloatArray:
        """Return the AUROC of each column of `counts` (clusters, R), NaN where undefined."""
        anchors = np.asarray(self.anchors @ counts)
        # Running sums are twice as fast along the contiguous axis, the copy included.
        weights = np.ascontiguousarray(np.asarray(self.segments @ counts).T)
        reached = np.cumsum(weights, axis=1, out=weights)
        # Twice the pairs won: rows below the anchor, plus rows below or tied with it.
        doubled = np.einsum("ar,ra->r", anchors, reached[:, :-1:2] + reached[:, 1::2])
        pairs = anchors.sum(axis=0) * reached[:, -1]
        result = np.full(counts.shape[1], np.nan)
        np.divide(doubled, 2 * pairs, out=result, where=pairs > 0)
        return result


def _rank(
    positive: BoolArray, score: FloatArray, codes: npt.NDArray[np.intp], n_clusters: int
) -> _RankedLabel:
    if 2 * positive.sum() > positive.size:  # AUROC(y, s) = AUROC(1 - y, -s): anchor the rarer class
        positive, score = ~positive, -score
    distinct, anchor = np.unique(score[positive], return_inverse=True)
    rest = score[~positive]
    segment = np.searchsorted(distinct, rest, "left") + np.searchsorted(distinct, rest, "right")
    return _RankedLabel(
        anchors=_count(anchor, codes[positive], (len(distinct), n_clusters)),
        segments=_count(segment, codes[~positive], (2 * len(distinct) + 1, n_clusters)),
    )


def _count(
    row: npt.NDArray[np.intp], column: npt.NDArray[np.intp], shape: tuple[int, int]
) -> csr_array:
    return csr_array((np.ones(len(row)), (row, column)), shape=shape)


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


def percentile_interval(replicates: FloatArray) -> Interval:
    """Return the central 95 % of the defined replicates (R,), NaN marking undefined ones.

    Efron's percentile interval, quantiles interpolated linearly. With more than half of the
    replicates undefined there are no limits; with more than 5 % they carry a caution.
    """
    defined = replicates[~np.isnan(replicates)]
    undefined = len(replicates) - len(defined)
    lost = f"{undefined:,} of {len(replicates):,} replicates lost a class"
    if undefined > REFUSED_SHARE * len(replicates):
        return Interval(None, None, undefined, f"no interval: {lost}", None)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(limit) for limit in np.quantile(defined, (tail, 1 - tail)))
    caution = f"{lost} and are left out" if undefined > FLAGGED_SHARE * len(replicates) else None
    return Interval(low, high, undefined, None, caution)
