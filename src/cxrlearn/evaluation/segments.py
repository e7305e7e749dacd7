"""Labels sorted once, so that every replicate of patients is a sparse product and a running sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from cxrlearn.evaluation.inputs import BoolArray, FloatArray


@dataclass(frozen=True)
class RankedPairs:
    """The AUROC of one label: a replicate needs only the weights of S segments and G groups.

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

    def wins(self, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return twice the pairs won, ties counting one, and all pairs: (R,) whole numbers each.

        Args:
            counts: (clusters, R), how often each patient is in each replicate.
        """
        anchors = np.asarray(self.groups @ counts)
        reached = np.asarray(self.segments @ counts)
        np.cumsum(reached, axis=0, out=reached)
        # Twice the pairs won: rows below the anchor, plus rows below or tied with it.
        doubled = np.einsum("gr,gr->r", anchors, reached[self.below])
        doubled += np.einsum("gr,gr->r", anchors, reached[self.through])
        return doubled, anchors.sum(axis=0) * reached[-1]

    def on(self, counts: FloatArray) -> FloatArray:
        """Return the AUROC (1, R) of each column of `counts`, NaN where undefined."""
        doubled, pairs = self.wins(counts)
        return ratio(doubled, 2 * pairs)[np.newaxis]


@dataclass(frozen=True)
class RankedPrecision:
    """The average precision of one label: every distinct score of a positive is a threshold."""

    positives: csr_array
    """(G, clusters): positive rows of each threshold, by falling score."""
    negatives: csr_array
    """(G + 1, clusters): negative rows that each threshold lets in; last, those below all."""

    def on(self, counts: FloatArray) -> FloatArray:
        """Return the average precision (1, R) of each column of `counts`, NaN where undefined.

        Args:
            counts: (clusters, R), how often each patient is in each replicate.
        """
        gained = np.asarray(self.positives @ counts)
        wrong = np.cumsum(np.asarray(self.negatives @ counts), axis=0)
        right = np.cumsum(gained, axis=0)
        total = gained.sum(axis=0)
        both = (total > 0) & (wrong[-1] > 0)
        above = right + wrong[:-1]
        # A threshold that nobody drawn reaches gains nothing, whatever its precision.
        np.maximum(above, 1, out=above)
        right /= above
        return ratio(np.einsum("gr,gr->r", gained, right), np.where(both, total, 0))[np.newaxis]


def rank_pairs(
    positive: BoolArray, score: FloatArray, codes: npt.NDArray[np.intp], n_clusters: int
) -> RankedPairs:
    """Sort one label for its AUROC.

    Args:
        positive: (n,) truth of the known rows.
        score: (n,) their scores, not NaN.
        codes: (n,) their patients, in [0, n_clusters).
        n_clusters: number of patients.
    """
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
    return RankedPairs(
        groups=_count(group[anchor], codes[positive], (len(ends), n_clusters)),
        segments=_count(1 + segment, codes[~positive], (1 + len(places), n_clusters)),
        below=ends // 2,
        through=(ends + 1) // 2,
    )


def rank_precision(
    positive: BoolArray, score: FloatArray, codes: npt.NDArray[np.intp], n_clusters: int
) -> RankedPrecision:
    """Sort one label for its average precision; arguments as in `rank_pairs`."""
    distinct, own = np.unique(score[positive], return_inverse=True)
    last = len(distinct)
    reached = np.searchsorted(distinct, score[~positive], "right")
    return RankedPrecision(
        positives=_count(last - 1 - own, codes[positive], (last, n_clusters)),
        negatives=_count(last - reached, codes[~positive], (last + 1, n_clusters)),
    )


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide (R,) by (R,), NaN where the denominator is 0."""
    result = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def _count(
    row: npt.NDArray[np.intp], column: npt.NDArray[np.intp], shape: tuple[int, int]
) -> csr_array:
    return csr_array((np.ones(len(row)), (row, column)), shape=shape)
