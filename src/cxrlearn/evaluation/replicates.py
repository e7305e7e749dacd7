"""All metrics of all labels on the same replicates of patients."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.evaluation.bootstrap import resample
from cxrlearn.evaluation.calibration import calibration_error_loss
from cxrlearn.evaluation.metrics import auroc_score, average_precision_score, brier_loss
from cxrlearn.evaluation.segments import rank_pairs, rank_precision
from cxrlearn.evaluation.sums import RATIOS, label_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cxrlearn.evaluation.bootstrap import Statistic
    from cxrlearn.evaluation.inputs import BoolArray, FloatArray
    from cxrlearn.evaluation.scored_set import ScoredSet
    from cxrlearn.evaluation.thresholds import Threshold


@dataclass(frozen=True)
class Metric:
    """One number of a label, without a threshold."""

    score: Callable[[BoolArray, FloatArray], float]
    """(truth (n,), log-odds (n,)) -> number on the data."""
    row: int
    """Where a label's replicates hold it."""
    ranks: bool
    """Needs both classes and sees only the order of scores; else it needs known rows."""


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "auroc": Metric(auroc_score, 0, ranks=True),
        "average_precision": Metric(average_precision_score, 1, ranks=True),
        "brier": Metric(brier_loss, 3, ranks=False),
        "calibration_error": Metric(calibration_error_loss, 4, ranks=False),
    }
)
"""By the names that results use."""
POSITIVES = 2
"""Where a label's replicates hold its positive rows."""
_FIRST_POINT = 5


@dataclass(frozen=True)
class Replicates:
    """R replicates of a set."""

    labels: tuple[FloatArray, ...]
    """For each label (5 + 5 T, R): AUROC, average precision, positives, Brier, calibration error,
    then `RATIOS` at each of T thresholds."""
    pool: FloatArray
    """(2, R): AUROC and average precision of the averaged labels taken as one."""

    def of(self, row: int, labels: Sequence[int]) -> FloatArray:
        """Return one metric of some labels, (R, len(labels))."""
        return np.stack([self.labels[label][row] for label in labels], axis=1)

    def at(self, label: int, point: int) -> FloatArray:
        """Return `RATIOS` of a label at its threshold number `point`, (5, R)."""
        start = _FIRST_POINT + len(RATIOS) * point
        return self.labels[label][start : start + len(RATIOS)]


@dataclass(frozen=True)
class _Stacked:
    parts: tuple[Statistic, ...]

    def on(self, counts: FloatArray) -> FloatArray:
        return np.concatenate([part.on(counts) for part in self.parts])


def replicate(
    data: ScoredSet, points: Sequence[Sequence[Threshold]], *, n_replicates: int, seed: int
) -> Replicates:
    """Compute every metric on every replicate; those without rows or scores are NaN.

    Args:
        data: what was evaluated.
        points: thresholds of each label; where there is none, nothing counts as above it.
        n_replicates: R.
        seed: the same seed and patients give the same replicates.
    """
    scored = [i for i in range(len(data.names)) if data.why_unscored(i) is None]
    ranked, clusters = data.ranked(), data.clusters.count
    statistics: list[_Stacked] = []
    for label in scored:
        rows = *data.known(label), clusters
        cuts = [np.inf if point.threshold is None else point.threshold for point in points[label]]
        sums = label_sums(*rows, cuts)
        statistics.append(_Stacked((rank_pairs(*rows), rank_precision(*rows), sums)))
    if ranked:
        rows = *data.pooled(ranked), clusters
        statistics.append(_Stacked((rank_pairs(*rows), rank_precision(*rows))))
    rng = np.random.default_rng(seed)
    found = resample(statistics, clusters, n_replicates=n_replicates, rng=rng) if scored else []
    by_label = dict(zip(scored, found, strict=False))
    return Replicates(
        labels=tuple(
            by_label.get(i, np.full((_FIRST_POINT + len(RATIOS) * len(cuts), n_replicates), np.nan))
            for i, cuts in enumerate(points)
        ),
        pool=found[-1] if ranked else np.full((2, n_replicates), np.nan),
    )
