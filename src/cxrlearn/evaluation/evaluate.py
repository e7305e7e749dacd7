"""The one entry point: labels, scores and patients in, metrics with intervals and counts out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.errors import DataError
from cxrlearn.evaluation.averages import average
from cxrlearn.evaluation.bootstrap import CONFIDENCE
from cxrlearn.evaluation.calibration import calibrate
from cxrlearn.evaluation.estimates import (
    analytic_auroc,
    bootstrap_estimate,
    few_patients,
    undefined,
)
from cxrlearn.evaluation.operating import operating_point
from cxrlearn.evaluation.replicates import METRICS, replicate
from cxrlearn.evaluation.results import Estimate, Evaluation, LabelResult
from cxrlearn.evaluation.scored_set import scored_set
from cxrlearn.evaluation.thresholds import check_thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from cxrlearn.evaluation.replicates import Replicates
    from cxrlearn.evaluation.scored_set import ScoredSet
    from cxrlearn.evaluation.thresholds import Threshold

INTERVAL_METHOD = (
    "Newcombe's score method, its variance scaled by the design effect of {unit}s, for the AUROC "
    "of a label, and for all else by percentile bootstrap, resampling {unit}s with replacement"
)
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
    thresholds: Sequence[Sequence[Threshold]] | None = None,
    n_replicates: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate the scores of one set.

    The AUROC of a label has Newcombe's score interval, everything else the percentile interval of
    the patient bootstrap. A replicate draws as many patients as there are, with replacement, and
    keeps all their rows; all labels share the replicates. Averages are over the labels that have
    both classes on the data; a replicate in which one of them loses a class is left out of them
    and counted.
    Nothing depends on the order of rows (given `image_ids`, for rows without a patient) or of
    labels, what is said of a label does not depend on the others, and AUROC and average precision
    of a label only on the order of its scores.

    Args:
        y_true: (N, L) of 0 and 1; multi-class: one-hot.
        y_score: (N, L) float64 logits (multi-class: log-odds of each class against the rest).
        known: (N, L) bool, False where the label is unknown; None: all known.
        names: L labels or classes.
        kind: "binary", "multilabel" or "multiclass".
        patients: (N,) strings, None where unknown. Without any, images are resampled.
        image_ids: (N,) strings, the order in which rows without a patient are numbered.
        not_scored: names of labels whose scores do not exist, with the reason.
        thresholds: what `choose_thresholds` returned for the validation set; None: no operating
            points.
        n_replicates: at least 1.
        seed: of the replicates; the same seed and patients give the same replicates.

    Returns:
        The evaluation; what is undefined is None with a reason.

    Raises:
        DataError: shapes, values or names do not fit; a score of a known label is NaN.
    """
    if n_replicates < 1:
        raise DataError(f"`n_replicates` must be at least 1. Got {n_replicates} instead.")
    data = scored_set(
        y_true,
        y_score,
        known=known,
        names=names,
        kind=kind,
        patients=patients,
        image_ids=image_ids,
        not_scored=not_scored,
    )
    points = check_thresholds(thresholds, len(names))
    replicates = replicate(data, points, n_replicates=n_replicates, seed=seed)
    macro, *averages = average(data, replicates)
    return Evaluation(
        kind=kind,
        rows=len(data.scores),
        unit=data.clusters.unit,
        clusters=data.clusters.count,
        rows_without_patient=data.clusters.rows_without_patient,
        replicates=n_replicates,
        seed=seed,
        confidence=CONFIDENCE,
        interval_method=INTERVAL_METHOD.format(unit=data.clusters.unit),
        averaging=AVERAGING[kind],
        macro=macro.estimate,
        macro_labels=macro.labels,
        labels=tuple(
            _label(data, label, chosen, replicates) for label, chosen in enumerate(points)
        ),
        averages=tuple(averages),
    )


def _label(
    data: ScoredSet, label: int, chosen: Sequence[Threshold], replicates: Replicates
) -> LabelResult:
    counts, owners = data.counts(label), data.owners(label)
    known, auroc = data.known(label), analytic_auroc(data, label)
    return LabelResult(
        name=data.names[label],
        auroc=auroc.estimate,
        positives=counts[0],
        negatives=counts[1],
        masked=len(data.scores) - sum(counts),
        positive_patients=owners[0],
        negative_patients=owners[1],
        auroc_bootstrap=_estimate(data, label, "auroc", replicates),
        standard_error=auroc.standard_error,
        design_effect=auroc.design_effect,
        average_precision=_estimate(data, label, "average_precision", replicates),
        brier=_estimate(data, label, "brier", replicates),
        calibration_error=_estimate(data, label, "calibration_error", replicates),
        calibration=None if data.names[label] in data.not_scored else calibrate(*known[:2]),
        operating_points=tuple(
            operating_point(data, label, threshold, replicates.at(label, number))
            for number, threshold in enumerate(chosen)
        ),
    )


def _estimate(data: ScoredSet, label: int, name: str, replicates: Replicates) -> Estimate:
    metric = METRICS[name]
    reason = data.why_unranked(label) if metric.ranks else data.why_unscored(label)
    if reason is not None:
        return undefined(reason)
    return bootstrap_estimate(
        metric.score(*data.known(label)[:2]),
        replicates.labels[label][metric.row],
        data.clusters,
        caution=few_patients(*data.owners(label), data.clusters),
    )
