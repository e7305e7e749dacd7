"""The one entry point: labels, scores and patients in, AUROC with intervals and counts out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrlearn.errors import DataError
from cxrlearn.evaluation.bootstrap import CONFIDENCE, patient_bootstrap_auroc, percentile_interval
from cxrlearn.evaluation.inputs import (
    Clusters,
    FloatArray,
    Truth,
    check_scores,
    check_truth,
    cluster_rows,
)
from cxrlearn.evaluation.metrics import auroc_score, macro_mean, why_undefined
from cxrlearn.evaluation.results import Estimate, Evaluation, LabelResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FEW_PATIENTS = 10
"""Below this number of patients in either class an interval carries a caution."""
INTERVAL_METHOD = "percentile bootstrap, resampling {unit}s with replacement"
"""How intervals are made, as written in reports."""
AVERAGING = {
    "binary": "the AUROC of the one label",
    "multilabel": "unweighted mean of the AUROC of each label",
    "multiclass": "unweighted mean of the one-vs-rest AUROC of each class",
}
"""What the macro value is, by kind of task: the same average for all, never prevalence-weighted."""


def evaluate(  # noqa: PLR0913 - one entry point, keyword-only
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    *,
    known: npt.ArrayLike | None = None,
    names: Sequence[str],
    kind: str,
    patients: Sequence[str | None] | npt.NDArray[np.object_] | None = None,
    image_ids: Sequence[str] | None = None,
    not_scored: Mapping[str, str] | None = None,
    n_replicates: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate the scores of one set.

    A replicate draws as many patients as there are, with replacement, and keeps all their rows;
    all labels share the replicates. The macro averages the labels that have both classes on the
    data; a replicate in which one of them loses a class is left out of the macro and counted.
    Nothing depends on the order of rows (given `image_ids`, for rows without a patient) or of
    labels, on the presence of other labels, or on a monotone transform of the scores.

    Args:
        y_true: (N, L) of 0 and 1; multi-class: one-hot.
        y_score: (N, L) float64 logits (multi-class: log-odds of each class against the rest).
        known: (N, L) bool, False where the label is unknown; None: all known.
        names: L labels or classes.
        kind: "binary", "multilabel" or "multiclass".
        patients: (N,) strings, None where unknown. Without any, images are resampled.
        image_ids: (N,) strings, the order in which rows without a patient are numbered.
        not_scored: names of labels whose scores do not exist, with the reason.
        n_replicates: at least 1.
        seed: of the replicates; the same seed and patients give the same replicates.

    Returns:
        The evaluation; what is undefined is None with a reason.

    Raises:
        DataError: shapes, values or names do not fit; a score of a known label is NaN.
    """
    if n_replicates < 1:
        raise DataError(f"`n_replicates` must be at least 1. Got {n_replicates} instead.")
    missing = {} if not_scored is None else dict(not_scored)
    truth = check_truth(y_true, known, names=names, kind=kind)
    scores = check_scores(y_score, truth, names=names, without_scores=missing)
    clusters = cluster_rows(len(scores), patients, image_ids)
    scored = Truth(truth.positive, truth.known & np.array([n not in missing for n in names], bool))
    replicates = patient_bootstrap_auroc(
        scored, scores, clusters, n_replicates=n_replicates, rng=np.random.default_rng(seed)
    )
    labels = tuple(
        _label(name, truth, scores, clusters, replicates, label, missing.get(name))
        for label, name in enumerate(names)
    )
    averaged = [i for i, label in enumerate(labels) if label.auroc.value is not None]
    return Evaluation(
        kind=kind,
        rows=len(scores),
        unit=clusters.unit,
        clusters=clusters.count,
        rows_without_patient=clusters.rows_without_patient,
        replicates=n_replicates,
        seed=seed,
        confidence=CONFIDENCE,
        interval_method=INTERVAL_METHOD.format(unit=clusters.unit),
        averaging=AVERAGING[kind],
        macro=_macro([labels[i] for i in averaged], replicates[:, averaged], clusters),
        macro_labels=tuple(names[i] for i in averaged),
        labels=labels,
    )


def _label(
    name: str,
    truth: Truth,
    scores: FloatArray,
    clusters: Clusters,
    replicates: FloatArray,
    label: int,
    not_scored: str | None,
) -> LabelResult:
    positive, negative = truth.positive[:, label], truth.negative[:, label]
    counts = int(positive.sum()), int(negative.sum())
    owners = len(np.unique(clusters.codes[positive])), len(np.unique(clusters.codes[negative]))
    reason = not_scored or why_undefined(*counts)
    if reason is not None:
        estimate = Estimate(None, None, None, reason, 0, ())
    else:
        known = truth.known[:, label]
        value = auroc_score(positive[known], scores[known, label])
        estimate = _estimate(value, replicates[:, label], clusters, few_patients(*owners, clusters))
    return LabelResult(
        name=name,
        auroc=estimate,
        positives=counts[0],
        negatives=counts[1],
        masked=len(scores) - sum(counts),
        positive_patients=owners[0],
        negative_patients=owners[1],
    )


def few_patients(positive: int, negative: int, clusters: Clusters) -> str | None:
    """Caution against an interval that rests on few patients of one class; None with enough."""
    count, which = min((positive, "positive"), (negative, "negative"))
    if count >= FEW_PATIENTS:
        return None
    plural = "" if count == 1 else "s"
    return f"only {count} {which} {clusters.unit}{plural}: the interval is likely too narrow"


def _macro(labels: list[LabelResult], replicates: FloatArray, clusters: Clusters) -> Estimate:
    if not labels:
        return Estimate(None, None, None, "no label has scores and both classes", 0, ())
    values = [label.auroc.value for label in labels if label.auroc.value is not None]
    value = float(macro_mean(np.array([values]))[0])
    return _estimate(value, macro_mean(replicates), clusters)


def _estimate(
    value: float, replicates: FloatArray, clusters: Clusters, caution: str | None = None
) -> Estimate:
    if clusters.count < 2:
        reason = f"no interval: all rows are of one {clusters.unit}"
        return Estimate(float(value), None, None, reason, 0, ())
    interval = percentile_interval(replicates)
    cautions = (interval.caution, caution if interval.reason is None else None)
    return Estimate(
        value=float(value),
        low=interval.low,
        high=interval.high,
        reason=interval.reason,
        undefined_replicates=interval.undefined,
        cautions=tuple(text for text in cautions if text is not None),
    )
