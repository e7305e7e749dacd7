"""Metrics that are ratios of sums over rows: on replicates, one sparse product serves them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.special import expit

from cxrlearn.evaluation.calibration import bin_rows
from cxrlearn.evaluation.metrics import squared_errors
from cxrlearn.evaluation.segments import ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrlearn.evaluation.inputs import BoolArray, FloatArray

RATIOS = ("sensitivity", "specificity", "ppv", "npv", "f1")
"""What there is at each threshold, in this order."""


@dataclass(frozen=True)
class LabelSums:
    """What one label adds up to, patient by patient."""

    patients: csr_array
    """(3 + bins + 2 T, clusters): rows, positives, squared errors; for each bin the sum of
    probability - truth; for each threshold the true and the false positives."""
    bins: int
    """Bins of the calibration error, made on the data: replicates keep them."""

    def on(self, counts: FloatArray) -> FloatArray:
        """Return (3 + 5 T, R): positives, Brier, calibration error; for each threshold `RATIOS`.

        Args:
            counts: (clusters, R), how often each patient is in each replicate.

        Returns:
            One column for each of `counts`, NaN where undefined.
        """
        sums = np.asarray(self.patients @ counts)
        rows, positives, errors = sums[:3]
        gaps = np.abs(sums[3 : 3 + self.bins]).sum(axis=0)
        above = sums[3 + self.bins :]
        metrics = [positives, ratio(errors, rows), ratio(gaps, rows)]
        for true, false in zip(above[::2], above[1::2], strict=True):
            metrics += threshold_ratios(true, false, positives, rows - positives)
        return np.stack(metrics)


def threshold_ratios(
    true: FloatArray, false: FloatArray, positives: FloatArray, negatives: FloatArray
) -> list[FloatArray]:
    """Return `RATIOS` of counts (R,), NaN where there is nothing to divide by.

    F1 = 2 TP / (2 TP + FP + FN), the harmonic mean of sensitivity and PPV (van Rijsbergen,
    Information Retrieval, 1979, ch. 7): 0 where no positive is found, undefined without positives.

    Args:
        true: positives at or above the threshold.
        false: negatives at or above it.
        positives: all positives.
        negatives: all negatives.
    """
    below = negatives - false
    return [
        ratio(true, positives),
        ratio(below, negatives),
        ratio(true, true + false),
        ratio(below, below + positives - true),
        ratio(2 * true, np.where(positives > 0, positives + true + false, 0)),
    ]


def label_sums(
    positive: BoolArray,
    score: FloatArray,
    codes: npt.NDArray[np.intp],
    n_clusters: int,
    thresholds: Sequence[float],
) -> LabelSums:
    """Add up one label by patient.

    Args:
        positive: (n,) truth of the known rows.
        score: (n,) their log-odds.
        codes: (n,) their patients, in [0, n_clusters).
        n_clusters: number of patients.
        thresholds: T log-odds; a row is called positive at or above.
    """
    # Rows alike in all three may stand in any order: sums do not depend on that of the caller.
    order = np.lexsort((codes, positive, score))
    positive, score, codes = positive[order], score[order], codes[order]
    bins = bin_rows(score)
    n_bins = int(bins.max()) + 1 if bins.size else 0
    everywhere = np.zeros(score.size, dtype=np.intp)
    parts = [
        (everywhere, np.ones(score.size)),
        (everywhere + 1, positive.astype(np.float64)),
        (everywhere + 2, squared_errors(positive, score)),
        (bins + 3, expit(score) - positive),
    ]
    for number, threshold in enumerate(thresholds):
        # 0 for a true positive, 1 for a false one.
        row = 3 + n_bins + 2 * number + ~positive
        parts.append((row, (score >= threshold).astype(np.float64)))
    rows, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    shape = (3 + n_bins + 2 * len(thresholds), n_clusters)
    matrix = csr_array((values, (rows, np.tile(codes, len(parts)))), shape=shape)
    matrix.eliminate_zeros()
    return LabelSums(patients=matrix, bins=n_bins)
