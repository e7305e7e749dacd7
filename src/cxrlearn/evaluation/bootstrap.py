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
    """One label sorted once, so that a replicate needs only the weights of S segments and G groups.

    Rows of the rarer class are anchors, all others fall into segments by score: tied with an
    anchor, or between two neighbouring ones. Anchors that win and tie with the same segments are
    one group.
    """

    groups: csr_array
    """(G, clusters): anchor rows of each group and patient."""
    segments: csr_array
    """(S + 1, clusters): other rows of each segment, by rising score; row 0 is empty."""
    below: npt.NDArray[np.intp]
    """(G,) number of segments that the group wins against."""
    through: npt.NDArray[np.intp]
    """(G,) the same, and the one that it is tied with."""

    def auroc(self, counts: FloatArray) -> FloatArray:
        """Return the AUROC of each column of `counts` (clusters, R), NaN where undefined."""
        anchors = np.asarray(self.groups @ counts)
        reached = np.asarray(self.segments @ counts)
        np.cumsum(reached, axis=0, out=reached)
        # Twice the pairs won: rows below the anchor, plus rows below or tied with it.
        doubled = np.einsum("gr,gr->r", anchors, reached[self.below])
        doubled += np.einsum("gr,gr->r", anchors, reached[self.through])
        pairs = anchors.sum(axis=0) * reached[-1]
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
    # 2i is the place between anchors i - 1 and i, 2i + 1 that of a tie with anchor i.
    place = np.searchsorted(distinct, rest, "left") + np.searchsorted(distinct, rest, "right")
    places, segment = np.unique(place, return_inverse=True)
    own = 2 * np.arange(len(distinct)) + 1
    below, through = np.searchsorted(places, own, "left"), np.searchsorted(places, own, "right")
    ends, group = np.unique(below + through, return_inverse=True)
    return _RankedLabel(
        groups=_count(group[anchor], codes[positive], (len(ends), n_clusters)),
        segments=_count(1 + segment, codes[~positive], (1 + len(places), n_clusters)),
        below=ends // 2,
        through=(ends + 1) // 2,
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
