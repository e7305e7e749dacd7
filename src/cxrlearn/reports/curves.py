"""The points of ROC and precision-recall curves, exact and thinned for drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from cxrlearn.reports.predictions import FloatArray

GRID = 400
"""Points closer than one part in this many of an axis look like one at any printed size."""


def roc_points(positive: npt.NDArray[np.bool_], score: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the false and true positive rate at every threshold, from (0, 0) to (1, 1).

    Tied rows pass a threshold together, so the area below is the AUROC with ties as one half.

    Args:
        positive: (n_samples,) with both classes.
        score: (n_samples,) real, not NaN.
    """
    true, false = _passed(positive, score)
    return false / false[-1], true / true[-1]


def pr_points(positive: npt.NDArray[np.bool_], score: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return recall and precision wherever recall rises, without the conventional (0, 1).

    Drawn as steps, precision held from the recall before, the area below is the average
    precision: thresholds that only pass negatives have no width. Arguments as in `roc_points`.
    """
    true, false = _passed(positive, score)
    rises = 1 + np.flatnonzero(np.diff(true))
    return true[rises] / true[-1], true[rises] / (true[rises] + false[rises])


def _passed(positive: npt.NDArray[np.bool_], score: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return positives and negatives at or above each distinct score, falling; 0 before them."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    true = np.cumsum(positive[order])[last]
    return np.append(0.0, true), np.append(0.0, last + 1 - true)


def thin(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Keep the first and last point, and every one in another cell of the grid than the one before.

    No point of the curve is further than 1 / `GRID` of an axis from one that is kept.
    """
    cells = np.stack((np.round(x * GRID), np.round(y * GRID)))
    kept = np.append(True, (np.diff(cells) != 0).any(axis=0))
    kept[-1] = True
    return x[kept], y[kept]
