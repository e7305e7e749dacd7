"""A value and its replicates become an estimate, with what a reader has to know about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.evaluation.bootstrap import LOST_A_CLASS, percentile_interval
from cxrlearn.evaluation.delong import auroc_interval
from cxrlearn.evaluation.metrics import auroc_score
from cxrlearn.evaluation.results import Estimate

if TYPE_CHECKING:
    from cxrlearn.evaluation.inputs import Clusters, FloatArray
    from cxrlearn.evaluation.scored_set import ScoredSet

FEW_PATIENTS = 10
"""Below this number of patients in either class an interval carries a caution."""
NOTHING_TO_AVERAGE = "no label has scores and both classes"
"""Why an average over labels is undefined."""


def undefined(reason: str) -> Estimate:
    """Return the estimate of a number that does not exist."""
    return Estimate(None, None, None, reason, 0, ())


def bootstrap_estimate(
    value: float,
    replicates: FloatArray,
    clusters: Clusters,
    *,
    caution: str | None = None,
    cause: str = LOST_A_CLASS,
) -> Estimate:
    """Give a value on the data the percentile interval of its replicates (R,).

    Args:
        value: on the data itself.
        replicates: (R,) NaN where undefined.
        clusters: what was resampled.
        caution: what else to know before trusting the interval.
        cause: what an undefined replicate did.
    """
    if clusters.count < 2:
        reason = f"no interval: all rows are of one {clusters.unit}"
        return Estimate(float(value), None, None, reason, 0, ())
    interval = percentile_interval(replicates, cause=cause)
    cautions = (interval.caution, caution, _odd(value, interval.low, interval.high))
    return Estimate(
        value=float(value),
        low=interval.low,
        high=interval.high,
        reason=interval.reason,
        undefined_replicates=interval.undefined,
        cautions=tuple(text for text in cautions if text and interval.reason is None),
    )


@dataclass(frozen=True)
class AnalyticAuroc:
    """The AUROC of one label without resampling."""

    estimate: Estimate
    """With Newcombe's score interval, scaled by the design effect."""
    standard_error: float | None
    """DeLong, clustered by patient."""
    design_effect: float | None
    """Clustered over plain variance, at least 1."""


def analytic_auroc(data: ScoredSet, label: int) -> AnalyticAuroc:
    """Estimate the AUROC of one label of a set; see `delong.auroc_interval`."""
    reason = data.why_unranked(label)
    if reason is not None:
        return AnalyticAuroc(undefined(reason), None, None)
    positive, score, codes = data.known(label)
    found = auroc_interval(positive, score, codes, unit=data.clusters.unit)
    estimate = Estimate(
        value=auroc_score(positive, score),
        low=found.low,
        high=found.high,
        reason=found.reason,
        undefined_replicates=0,
        cautions=() if found.caution is None else (found.caution,),
    )
    return AnalyticAuroc(estimate, found.standard_error, found.design_effect)


def _odd(value: float, low: float | None, high: float | None) -> str | None:
    """Say when limits cannot be taken for an interval of the value."""
    if low is None or high is None:
        return None
    if low == high:
        return "all replicates agree: the interval does not show how uncertain the value is"
    if not low <= value <= high:
        return "the value lies outside the interval: resampling shifts this metric"
    return None


def few_patients(positive: int, negative: int, clusters: Clusters) -> str | None:
    """Caution against an interval that rests on few patients of one class; None with enough."""
    return too_few(*min((positive, "positive"), (negative, "negative")), clusters)


def too_few(count: int, which: str, clusters: Clusters) -> str | None:
    """Caution against an interval that rests on few patients of the class `which`."""
    if count >= FEW_PATIENTS:
        return None
    plural = "" if count == 1 else "s"
    return f"only {count} {which} {clusters.unit}{plural}: the interval is likely too narrow"
