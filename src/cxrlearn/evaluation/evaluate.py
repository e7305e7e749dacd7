"""The one entry point: labels, scores and patients in, metrics with intervals and counts out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cxrlearn.evaluation.averages import NOTHING_TO_AVERAGE, average
from cxrlearn.evaluation.calibration import calibrate, calibration_error_loss
from cxrlearn.evaluation.intervals import CONFIDENCE, METHOD, undefined
from cxrlearn.evaluation.metric_table import (
    METRICS,
    auroc_inference,
    label_estimate,
    measure,
    why_missing,
)
from cxrlearn.evaluation.operating import operating_point
from cxrlearn.evaluation.results import Average, Estimate, Evaluation, LabelResult
from cxrlearn.evaluation.scored_set import scored_set
from cxrlearn.evaluation.thresholds import check_thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from cxrlearn.evaluation.jackknife import Jackknife
    from cxrlearn.evaluation.scored_set import ScoredSet
    from cxrlearn.evaluation.thresholds import Threshold

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
) -> Evaluation:
    """Evaluate the scores of one set.

    All intervals come from the jackknife over patients: every number is computed again without
    each patient. Averages are over the labels that have both classes on the data, and an average
    of one label is that label. Nothing depends on the order of rows (given `image_ids`, for rows
    without a patient) or of labels, what is said of a label does not depend on the others, and
    AUROC and average precision of a label only on the order of its scores.

    Args:
        y_true: (N, L) of 0 and 1; multi-class: one-hot.
        y_score: (N, L) float64 logits (multi-class: log-odds of each class against the rest).
        known: (N, L) bool, False where the label is unknown; None: all known.
        names: L labels or classes.
        kind: "binary", "multilabel" or "multiclass".
        patients: (N,) strings, None where unknown. Without any, every image is a patient.
        image_ids: (N,) strings, the order in which rows without a patient are numbered.
        not_scored: names of labels whose scores do not exist, with the reason.
        thresholds: what `choose_thresholds` returned for the validation set; None: no operating
            points.

    Returns:
        The evaluation; what is undefined is None with a reason.

    Raises:
        DataError: shapes, values or names do not fit; a score of a known label is NaN.
    """
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
    found = {
        (label, name): measure(data, label, name)
        for name, metric in METRICS.items()
        for label in range(len(names))
        if why_missing(data, label, metric) is None
    }
    macro, *averages = average(data, found)
    return Evaluation(
        kind=kind,
        rows=len(data.scores),
        unit=data.clusters.unit,
        clusters=data.clusters.count,
        rows_without_patient=data.clusters.rows_without_patient,
        confidence=CONFIDENCE,
        interval_method=METHOD.format(unit=data.clusters.unit),
        averaging=AVERAGING[kind],
        macro=macro.estimate,
        macro_labels=macro.labels,
        labels=tuple(_label(data, label, chosen, found) for label, chosen in enumerate(points)),
        averages=(*averages, _mean_calibration_error(data)),
    )


def _label(
    data: ScoredSet,
    label: int,
    chosen: Sequence[Threshold],
    found: Mapping[tuple[int, str], Jackknife],
) -> LabelResult:
    counts, owners = data.counts(label), data.owners(label)
    reason = data.why_unranked(label)
    auroc, error, effect = undefined(reason or ""), None, None
    if reason is None:
        auroc, error, effect = auroc_inference(data, label, found[label, "auroc"])
    positive, score, codes = data.known(label)
    return LabelResult(
        name=data.names[label],
        auroc=auroc,
        positives=counts[0],
        negatives=counts[1],
        masked=len(data.scores) - sum(counts),
        positive_patients=owners[0],
        negative_patients=owners[1],
        standard_error=error,
        design_effect=effect,
        average_precision=label_estimate(data, label, "average_precision", found),
        brier=label_estimate(data, label, "brier", found),
        calibration_error=_calibration_error(data, label),
        calibration=None
        if data.names[label] in data.not_scored
        else calibrate(positive, score, codes, unit=data.clusters.unit),
        operating_points=tuple(operating_point(data, label, threshold) for threshold in chosen),
    )


def _calibration_error(data: ScoredSet, label: int) -> Estimate:
    """Return the calibration error without an interval: it is biased upwards by construction."""
    reason = data.why_unscored(label)
    if reason is not None:
        return undefined(reason)
    return Estimate(calibration_error_loss(*data.known(label)[:2]), None, None, None, ())


def _mean_calibration_error(data: ScoredSet) -> Average:
    labels = data.ranked()
    if not labels:
        return Average("macro", "calibration_error", undefined(NOTHING_TO_AVERAGE), ())
    values = [calibration_error_loss(*data.known(label)[:2]) for label in labels]
    mean = Estimate(math.fsum(values) / len(values), None, None, None, ())
    names = tuple(data.names[label] for label in labels)
    return Average("macro", "calibration_error", mean, names)
