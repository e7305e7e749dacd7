"""Inference on the AUROC by formula: DeLong's variance by patients, Newcombe's interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit
from scipy.stats import rankdata

from cxrlearn.evaluation.bootstrap import CONFIDENCE
from cxrlearn.evaluation.metrics import why_undefined
from cxrlearn.evaluation.newcombe import newcombe_limits

if TYPE_CHECKING:
    from cxrlearn.evaluation.inputs import BoolArray, FloatArray

FEW_PATIENTS = 10
"""Below this number of patients in the rarer class an interval or test carries a caution."""
_ROUNDING = 1e-12
"""A standard error below this is rounding, not variation."""
_SAME = 1e-9
"""The same for a difference, whose variance is left over when two nearly equal sums cancel."""


@dataclass(frozen=True)
class Components:
    """How every row fares against the rows of the other class, for K scores of the same rows.

    Counts of rows, ties as one half: exact, so that nothing depends on the order of rows.
    """

    beaten: FloatArray
    """(K, m): negatives that each positive row beats; divided by n this is DeLong's V10."""
    beaten_by: FloatArray
    """(K, n): positives that beat each negative row; divided by m this is DeLong's V01."""

    @property
    def aurocs(self) -> FloatArray:
        """(K,): the AUROC of every score."""
        pairs = self.beaten.shape[1] * self.beaten_by.shape[1]
        return np.asarray(self.beaten.sum(axis=1) / pairs)


def structural_components(positive: BoolArray, scores: FloatArray) -> Components:
    """Return the structural components of K scores, in O(n log n) from mid-ranks.

    DeLong, DeLong and Clarke-Pearson, Biometrics 1988;44:837-845; computed as in Sun and Xu, IEEE
    Signal Processing Letters 2014;21:1389-1393.

    Args:
        positive: (N,) with m ≥ 1 positives and n ≥ 1 negatives.
        scores: (K, N), not NaN; infinite values rank.
    """
    ranks = rankdata(scores, axis=1)
    within_positives = rankdata(scores[:, positive], axis=1)
    within_negatives = rankdata(scores[:, ~positive], axis=1)
    return Components(
        beaten=ranks[:, positive] - within_positives,
        beaten_by=positive.sum() - (ranks[:, ~positive] - within_negatives),
    )


def clustered_covariance(
    components: Components, positive: BoolArray, codes: npt.NDArray[np.intp]
) -> FloatArray:
    """Return the covariance (K, K) of K AUROCs whose rows come in clusters.

    Obuchowski, Biometrics 1997;53:567-578. A cluster may hold rows of both classes. Where every row
    is a cluster of its own, this is DeLong's covariance.

    Args:
        components: of K scores.
        positive: (N,) the labels that the components were made with.
        codes: (N,) ≥ 0, each row's cluster; at least two clusters hold a positive and two a
            negative.
    """
    _, codes = np.unique(codes, return_inverse=True)
    clusters = int(codes.max()) + 1
    of_positives, n_positives = _by_cluster(components.beaten, codes[positive], clusters)
    of_negatives, n_negatives = _by_cluster(components.beaten_by, codes[~positive], clusters)
    # Each is a share of all pairs, so S10 / m, S01 / n and S11 / (m n) need no further division.
    pairs = components.beaten.shape[1] * components.beaten_by.shape[1]
    of_positives, of_negatives = of_positives / pairs, of_negatives / pairs
    cross = of_positives @ of_negatives.T
    return np.asarray(
        _unbiased(n_positives) * of_positives @ of_positives.T
        + _unbiased(n_negatives) * of_negatives @ of_negatives.T
        + _unbiased(clusters) * (cross + cross.T)
    )


def _by_cluster(
    counts: FloatArray, codes: npt.NDArray[np.intp], clusters: int
) -> tuple[FloatArray, int]:
    """Sum counts (K, rows) by cluster, less what average rows would have; count the clusters."""
    rows = np.bincount(codes, minlength=clusters)
    sums = np.array([np.bincount(codes, row, minlength=clusters) for row in counts])
    expected = rows * (counts.sum(axis=1, keepdims=True) / len(codes))
    return sums - expected, int(np.count_nonzero(rows))


def _unbiased(clusters: int) -> float:
    return clusters / (clusters - 1)


@dataclass(frozen=True)
class AurocInterval:
    """The AUROC of one label, with its 95 % interval."""

    auroc: float | None
    """On the data; None where a class is missing."""
    low: float | None
    """Lower limit."""
    high: float | None
    """Upper limit."""
    standard_error: float | None
    """DeLong's, clustered (Obuchowski's); 0 where no row breaks the order, see `caution`."""
    design_effect: float | None
    """By how much clusters widen the variance behind the interval; at least 1."""
    reason: str | None
    """Why something above is None."""
    caution: str | None
    """What to know before trusting the interval."""


def auroc_interval(
    positive: BoolArray, score: FloatArray, codes: npt.NDArray[np.intp], *, unit: str = "patient"
) -> AurocInterval:
    """Return the AUROC with Newcombe's score interval, widened for patients with several rows.

    The variance of `newcombe_limits` is multiplied by the design effect: clustered over plain
    DeLong variance, at least 1. The normal quantile gives way to Student's t with one degree of
    freedom less than there are patients of the rarer class, because that is what the design effect
    was estimated from; the rarer class, so that swapping the classes and the sign of the scores
    mirrors the interval. Where all rows fare alike (AUROC 0 or 1, or one score for all) DeLong's
    variance is zero and the design effect is its greatest possible value, Kish's rows per patient
    of the rarer class, Σ rows² / Σ rows. `scripts/coverage_study.py` shows the coverage.

    Args:
        positive: (N,) labels of the known rows.
        score: (N,) float64, not NaN; infinite values rank.
        codes: (N,) ≥ 0, each row's patient (or image).
        unit: what a code stands for, in reasons.
    """
    reason, patients = _why_no_inference(positive, codes, unit)
    if patients == 0:
        return AurocInterval(None, None, None, None, None, reason, None)
    # In the order of scores, so that rounding does not depend on the order of rows.
    order = np.lexsort((positive, score))
    positive, score, codes = positive[order], score[order], codes[order]
    components = structural_components(positive, score[None])
    auroc = float(components.aurocs[0])
    if reason is not None:
        return AurocInterval(auroc, None, None, None, None, reason, None)
    clustered = float(clustered_covariance(components, positive, codes)[0, 0])
    plain = float(clustered_covariance(components, positive, np.arange(len(codes)))[0, 0])
    flat = plain < _ROUNDING**2
    effect = _rows_per_cluster(positive, codes) if flat else max(1.0, clustered / plain)
    positives = int(positive.sum())
    low, high = newcombe_limits(
        auroc,
        positives,
        len(positive) - positives,
        quantile=_t_quantile(patients) * math.sqrt(effect),
    )
    cautions = [_few(positive, codes, unit, "interval")]
    if flat:
        cautions.append(f"no row breaks the order: rows of one {unit} are taken to be copies")
    caution = "; ".join(text for text in cautions if text is not None)
    return AurocInterval(auroc, low, high, math.sqrt(clustered), effect, None, caution or None)


@dataclass(frozen=True)
class PairedAuroc:
    """AUROC of model A minus that of model B, for one label of the same rows."""

    difference: float | None
    """On the data; None where a class is missing."""
    low: float | None
    """Lower limit of the 95 % interval."""
    high: float | None
    """Upper limit of the 95 % interval."""
    standard_error: float | None
    """DeLong's, clustered (Obuchowski's)."""
    z: float | None
    """Difference / standard error; None where that is zero or undefined."""
    p_value: float | None
    """Two-sided, of z under Student's t."""
    reason: str | None
    """Why something above is None."""
    caution: str | None
    """What to know before trusting interval and test."""


def paired_auroc_difference(
    positive: BoolArray,
    score_a: FloatArray,
    score_b: FloatArray,
    codes: npt.NDArray[np.intp],
    *,
    unit: str = "patient",
) -> PairedAuroc:
    """Compare two scores of the same rows; see `paired_auroc_differences`."""
    scores = np.stack([score_a, score_b])
    return paired_auroc_differences(positive, scores, codes, unit=unit)[0]


def paired_auroc_differences(
    positive: BoolArray, scores: FloatArray, codes: npt.NDArray[np.intp], *, unit: str = "patient"
) -> tuple[PairedAuroc, ...]:
    """Compare every pair of K scores of the same rows by DeLong's test in its clustered form.

    Interval and p-value use Student's t with one degree of freedom less than there are patients of
    the rarer class, patients with unequal numbers of images counting for fewer (Kish's effective
    number, (Σ rows)² / Σ rows²): in simulations with 10 positive patients the normal distribution
    rejects a true null 8 to 9 % of the time at the 5 % level (`scripts/coverage_study.py`).

    Args:
        positive: (N,) labels of the known rows.
        scores: (K, N) float64, not NaN; infinite values rank.
        codes: (N,) ≥ 0, each row's patient (or image).
        unit: what a code stands for, in reasons.

    Returns:
        K (K - 1) / 2 differences, first minus second, in the order of `itertools.combinations`.
    """
    pairs = list(combinations(range(len(scores)), 2))
    reason, patients = _why_no_inference(positive, codes, unit)
    if patients == 0:
        return (PairedAuroc(None, None, None, None, None, None, reason, None),) * len(pairs)
    components = structural_components(positive, scores)
    differences = [float(components.aurocs[a] - components.aurocs[b]) for a, b in pairs]
    if reason is not None:
        return tuple(
            PairedAuroc(d, None, None, None, None, None, reason, None) for d in differences
        )
    covariance = clustered_covariance(components, positive, codes)
    caution = _few(positive, codes, unit, "test")
    effective = max(2.0, _effective_clusters(positive, codes))
    return tuple(
        _paired(difference, _variance_of_difference(covariance, a, b), effective, unit, caution)
        for difference, (a, b) in zip(differences, pairs, strict=True)
    )


def _variance_of_difference(covariance: FloatArray, a: int, b: int) -> float:
    # Both sums in the same order, so that exchanging the models changes nothing but the sign.
    return max(0.0, float((covariance[a, a] + covariance[b, b]) - 2 * covariance[a, b]))


def _paired(
    difference: float, variance: float, patients: float, unit: str, caution: str | None
) -> PairedAuroc:
    error = math.sqrt(variance)
    if error < _SAME:
        reason = f"no test: the difference does not vary between {unit}s"
        return PairedAuroc(difference, None, None, 0.0, None, None, reason, None)
    half = _t_quantile(patients) * error
    z = difference / error
    p_value = 2 * float(stdtr(patients - 1, -abs(z)))
    low, high = max(-1.0, difference - half), min(1.0, difference + half)
    return PairedAuroc(difference, low, high, error, z, p_value, None, caution)


def _t_quantile(patients: float) -> float:
    return float(stdtrit(patients - 1, (1 + CONFIDENCE) / 2))


def _effective_clusters(positive: BoolArray, codes: npt.NDArray[np.intp]) -> float:
    """Kish's effective number of clusters, (Σ rows)² / Σ rows², the lesser of the two classes."""
    rows = [np.unique(codes[part], return_counts=True)[1] for part in (positive, ~positive)]
    return min(float(counts.sum() ** 2 / (counts**2).sum()) for counts in rows)


def _rows_per_cluster(positive: BoolArray, codes: npt.NDArray[np.intp]) -> float:
    """Kish's mean rows per cluster, Σ rows² / Σ rows, of the class with fewer clusters."""
    rows = [np.unique(codes[part], return_counts=True)[1] for part in (positive, ~positive)]
    means = [(len(counts), -float((counts**2).sum() / counts.sum())) for counts in rows]
    return -min(means)[1]


def _why_no_inference(
    positive: BoolArray, codes: npt.NDArray[np.intp], unit: str
) -> tuple[str | None, int]:
    """Say why there is no interval or test, and count the clusters of the rarer class."""
    positives = int(positive.sum())
    reason = why_undefined(positives, len(positive) - positives)
    if reason is not None:
        return reason, 0
    count, which = _rarer(positive, codes)
    if count < 2:
        return f"no interval: all {which} rows are of one {unit}", count
    return None, count


def _rarer(positive: BoolArray, codes: npt.NDArray[np.intp]) -> tuple[int, str]:
    return min(
        (len(np.unique(codes[positive])), "positive"),
        (len(np.unique(codes[~positive])), "negative"),
    )


def _few(positive: BoolArray, codes: npt.NDArray[np.intp], unit: str, what: str) -> str | None:
    count, which = _rarer(positive, codes)
    if count >= FEW_PATIENTS:
        return None
    return f"only {count} {which} {unit}s: the {what} rests on very few"
