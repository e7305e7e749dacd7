"""Averages over labels: macro, weighted and micro, with intervals from shared replicates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.evaluation.estimates import NOTHING_TO_AVERAGE, bootstrap_estimate, undefined
from cxrlearn.evaluation.metrics import macro_mean
from cxrlearn.evaluation.replicates import METRICS, POSITIVES
from cxrlearn.evaluation.results import Average

if TYPE_CHECKING:
    from cxrlearn.evaluation.inputs import FloatArray
    from cxrlearn.evaluation.replicates import Replicates
    from cxrlearn.evaluation.results import Estimate
    from cxrlearn.evaluation.scored_set import ScoredSet

_WANTED = (
    *(("macro", name) for name in METRICS),
    *(
        (average, name)
        for average in ("weighted", "micro")
        for name, metric in METRICS.items()
        if metric.ranks
    ),
)


def average(data: ScoredSet, replicates: Replicates) -> tuple[Average, ...]:
    """Return every average of a set, the macro AUROC first.

    All are over the labels that have scores and both classes on the data. `macro` is the
    unweighted mean; `weighted` weighs each label by its positive rows, in a replicate by those
    of the replicate; `micro` pools all known (row, label) pairs into one label, which compares
    scores across labels.
    """
    labels = data.ranked()
    if not labels:
        nothing = undefined(NOTHING_TO_AVERAGE)
        return tuple(Average(kind, name, nothing, ()) for kind, name in _WANTED)
    names = tuple(data.names[i] for i in labels)
    return tuple(
        Average(kind, name, _estimate(data, labels, replicates, kind, name), names)
        for kind, name in _WANTED
    )


def _estimate(
    data: ScoredSet, labels: list[int], replicates: Replicates, kind: str, name: str
) -> Estimate:
    metric = METRICS[name]
    if kind == "micro":
        positive, pooled, _ = data.pooled(labels)
        drawn = replicates.pool[metric.row]
        return bootstrap_estimate(metric.score(positive, pooled), drawn, data.clusters)
    values = np.array([[metric.score(*data.known(i)[:2]) for i in labels]])
    drawn = replicates.of(metric.row, labels)
    if kind == "macro":
        return bootstrap_estimate(macro_mean(values)[0], macro_mean(drawn), data.clusters)
    weights = np.array([[data.counts(i)[0] for i in labels]], dtype=np.float64)
    drawn = weighted_mean(drawn, replicates.of(POSITIVES, labels))
    return bootstrap_estimate(weighted_mean(values, weights)[0], drawn, data.clusters)


def weighted_mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Average each row of (R, L) with weights ≥ 0 of (R, L); NaN where a label is NaN.

    The sums are exact before their rounding, so the order of labels cannot show.
    """
    return np.array(
        [
            math.nan if any(map(math.isnan, row)) else math.fsum(row) / math.fsum(weight)
            for row, weight in zip((values * weights).tolist(), weights.tolist(), strict=True)
        ],
        dtype=np.float64,
    )
