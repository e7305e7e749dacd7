"""Two models on the same images: the difference of their macro AUROC, over shared replicates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrlearn.errors import DataError
from cxrlearn.evaluation.bootstrap import patient_bootstrap_auroc, percentile_interval
from cxrlearn.evaluation.inputs import (
    Clusters,
    FloatArray,
    Truth,
    check_scores,
    check_truth,
    cluster_rows,
)
from cxrlearn.evaluation.metrics import auroc_score, macro_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_ROUNDING = 1e-12
"""A standard error below this is rounding, not variation."""


@dataclass(frozen=True)
class PairedDifference:
    """Model A minus model B."""

    difference: float | None
    """Macro AUROC of A minus that of B, on the data; None where undefined."""
    low: float | None
    """Lower limit of the 95 % percentile interval."""
    high: float | None
    """Upper limit of the 95 % percentile interval."""
    standard_error: float | None
    """Standard deviation of the difference over the replicates."""
    z: float | None
    """Difference / standard error; None where that is zero or undefined."""
    p_value: float | None
    """Two-sided, of z under the normal distribution."""
    reason: str | None
    """Why something above is None."""
    cautions: tuple[str, ...]
    """What to know before trusting the interval."""
    macro_a: float | None
    """Macro AUROC of A."""
    macro_b: float | None
    """Macro AUROC of B."""
    macro_labels: tuple[str, ...]
    """The labels averaged: both classes on the data, scored by both models."""
    rows: int
    """Rows compared."""
    unit: str
    """What was resampled: "patient" or "image"."""
    clusters: int
    """Number of such units."""
    replicates: int
    """Bootstrap replicates."""
    undefined_replicates: int
    """Replicates in which an averaged label lost a class; left out."""
    seed: int
    """Seed of the replicates."""


def paired_macro_difference(  # noqa: PLR0913 - two models on one set, keyword-only past the arrays
    y_true: npt.ArrayLike,
    known: npt.ArrayLike | None,
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    patients: Sequence[str | None] | npt.NDArray[np.object_] | None,
    *,
    names: Sequence[str] | None = None,
    image_ids: Sequence[str] | None = None,
    without_scores: Collection[str] = (),
    n_replicates: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """Compare the macro AUROC of two models on the same rows.

    Both models are scored on the same replicates of patients, so what the two have in common
    cancels. z is the difference on the data over the standard deviation of its replicates.

    Args:
        y_true: (N, L) of 0 and 1; multi-class: one-hot.
        known: (N, L) bool, or None: all known.
        scores_a: (N, L) logits of model A.
        scores_b: (N, L) logits of model B, rows and labels in the same order.
        patients: (N,) strings, None where unknown; None resamples images.
        names: L labels; default "0", "1", …
        image_ids: (N,) the order in which rows without a patient are numbered.
        without_scores: labels that one of the models has no scores for.
        n_replicates: at least 2.
        seed: of the replicates; `evaluate` with this seed uses the same ones.

    Raises:
        DataError: shapes, values or names do not fit; a score of a known label is NaN.
    """
    columns = np.asarray(y_true).shape[1] if np.ndim(y_true) == 2 else 0
    labels = tuple(map(str, range(columns))) if names is None else tuple(names)
    truth = check_truth(y_true, known, names=labels)
    models = [
        check_scores(scores, truth, names=labels, without_scores=without_scores)
        for scores in (scores_a, scores_b)
    ]
    clusters = cluster_rows(len(truth.known), patients, image_ids)
    shared = shared_macros(
        truth,
        models,
        clusters,
        names=labels,
        without_scores=without_scores,
        n_replicates=n_replicates,
        seed=seed,
    )
    return shared.difference(0, 1)


@dataclass(frozen=True)
class SharedMacros:
    """The macro AUROC of K models on the same rows and on the same replicates of patients."""

    macros: FloatArray
    """(K,): on the data; NaN without labels."""
    replicates: FloatArray
    """(R, K): NaN where an averaged label lost a class."""
    labels: tuple[str, ...]
    """The labels averaged: both classes on the data, scored by every model."""
    clusters: Clusters
    """What was resampled."""
    seed: int
    """Seed of the replicates."""

    def difference(self, a: int, b: int) -> PairedDifference:
        """Return the macro AUROC of model `a` minus that of model `b`."""
        differences = self.replicates[:, a] - self.replicates[:, b]
        macro_a, macro_b = float(self.macros[a]), float(self.macros[b])
        inference = _infer(macro_a - macro_b, differences, self.clusters)
        return PairedDifference(
            difference=inference.difference,
            low=inference.low,
            high=inference.high,
            standard_error=inference.standard_error,
            z=inference.z,
            p_value=inference.p_value,
            reason=inference.reason,
            cautions=inference.cautions,
            macro_a=macro_a if self.labels else None,
            macro_b=macro_b if self.labels else None,
            macro_labels=self.labels,
            rows=len(self.clusters.codes),
            unit=self.clusters.unit,
            clusters=self.clusters.count,
            replicates=len(differences),
            undefined_replicates=int(np.isnan(differences).sum()) if self.labels else 0,
            seed=self.seed,
        )


def shared_macros(
    truth: Truth,
    models: Sequence[FloatArray],
    clusters: Clusters,
    *,
    names: Sequence[str],
    without_scores: Collection[str],
    n_replicates: int,
    seed: int,
) -> SharedMacros:
    """Score K models (N, L) on the same replicates of patients, drawn once for all of them.

    Raises:
        DataError: fewer than two replicates.
    """
    if n_replicates < 2:
        raise DataError(f"`n_replicates` must be at least 2. Got {n_replicates} instead.")
    both_classes = np.atleast_1d(truth.positive.any(axis=0) & truth.negative.any(axis=0))
    kept = [i for i, name in enumerate(names) if both_classes[i] and name not in without_scores]
    chosen = truth.select(kept)
    macros = np.full(len(models), np.nan)
    replicates = np.full((n_replicates, len(models)), np.nan)
    if kept:
        scores = [model[:, kept] for model in models]
        macros = np.array([_macro(chosen, model) for model in scores])
        by_label = patient_bootstrap_auroc(
            Truth(
                np.hstack([chosen.positive] * len(models)), np.hstack([chosen.known] * len(models))
            ),
            np.hstack(scores),
            clusters,
            n_replicates=n_replicates,
            rng=np.random.default_rng(seed),
        )
        parts = np.split(by_label, len(models), axis=1)
        replicates = np.stack([macro_mean(part) for part in parts], axis=1)
    return SharedMacros(macros, replicates, tuple(names[i] for i in kept), clusters, seed)


def _macro(truth: Truth, scores: FloatArray) -> float:
    values = [
        auroc_score(truth.positive[known, label], scores[known, label])
        for label, known in enumerate(truth.known.T)
    ]
    return float(macro_mean(np.array([values]))[0])


@dataclass(frozen=True)
class _Inference:
    difference: float | None
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    z: float | None = None
    p_value: float | None = None
    reason: str | None = None
    cautions: tuple[str, ...] = ()


def _infer(difference: float, differences: FloatArray, clusters: Clusters) -> _Inference:
    if math.isnan(difference):
        return _Inference(None, reason="no label has scores of both models and both classes")
    if clusters.count < 2:
        return _Inference(difference, reason=f"no interval: all rows are of one {clusters.unit}")
    interval = percentile_interval(differences)
    if interval.reason is not None:
        return _Inference(difference, reason=interval.reason)
    cautions = () if interval.caution is None else (interval.caution,)
    error = float(np.nanstd(differences, ddof=1))
    # Equal orders give differences that are zero up to rounding: no variation to measure against.
    if error < _ROUNDING:
        reason = "no test: the difference is the same in every replicate"
        return _Inference(
            difference, interval.low, interval.high, error, reason=reason, cautions=cautions
        )
    z = difference / error
    p_value = math.erfc(abs(z) / math.sqrt(2))
    return _Inference(difference, interval.low, interval.high, error, z, p_value, cautions=cautions)
