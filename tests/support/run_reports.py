"""A small finished run with awkward names: predictions, and the report that belongs to them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.evaluation.results import (
    Average,
    Calibration,
    CalibrationBin,
    Difference,
    Estimate,
    OperatingPoint,
    Subgroup,
    SubgroupLabel,
    WithinStrata,
)
from cxrlearn.reports.predictions import Predictions
from cxrlearn.reports.schema import (
    BackboneReport,
    CurveMacroReport,
    CurveMissingReport,
    CurvePointReport,
    DetectableReport,
    DropReport,
    EpochReport,
    FinetuneReport,
    FloorReport,
    LabelCount,
    OverlapReport,
    PretrainingReport,
    ProbeLabelReport,
    ProbeReport,
    RunReport,
    SetReport,
    SplitReport,
    TaskReport,
    TrialReport,
)

if TYPE_CHECKING:
    from cxrlearn.evaluation.results import Evaluation, LabelResult

NAMES = (
    "Pleural_Thickening",
    'Nodule/Mass, "solid"',
    "Ödem | Stauung",
    "_a_ *b* `c` [d] <script> #f ~g~ &amp; $x$ \\",
    "logit_Hernia",
    "Hernia",
)
"""Labels; the last two would collide if columns were named carelessly. Hernia is not fitted."""
NOT_SCORED = {"Hernia": "not fitted: no positives among 100 known rows of train"}


def sample_predictions(seed: int = 0, rows: int = 80) -> Predictions:
    """Make predictions of `rows` images of about half as many patients."""
    rng = np.random.default_rng(seed)
    shape = (rows, len(NAMES))
    values = (rng.random(shape) < 0.3).astype(np.int8)
    values[:, 2] = 0
    known = rng.random(shape) < 0.85
    logits = rng.normal(size=shape) * 30 + values
    logits[:, 5] = np.nan
    owners = [f"{i:05d}" for i in rng.integers(0, rows // 2, rows)]
    return Predictions(
        image_ids=tuple(f"im,ages/ü {i}.png" for i in range(rows)),
        patient_ids=tuple(None if i == 3 else owner for i, owner in enumerate(owners)),
        names=NAMES,
        values=np.where(known, values, 0).astype(np.int8),
        known=known,
        logits=logits,
        probabilities=1 / (1 + np.exp(-logits)),
    )


def evaluate_predictions(predictions: Predictions) -> Evaluation:
    """Evaluate as a run would."""
    return evaluate(
        predictions.values,
        predictions.logits,
        known=predictions.known,
        names=predictions.names,
        kind="multilabel",
        patients=predictions.patient_ids,
        image_ids=predictions.image_ids,
        not_scored=NOT_SCORED,
    )


def sample_report(predictions: dict[str, Predictions]) -> RunReport:
    """Make the report of a run on these test sets."""
    counts = tuple(LabelCount(name, 10, 88, 2) for name in NAMES)
    train = SplitReport("train", "train", "train.csv", 103, 100, 2, 1, 60, counts)
    validation = replace(train, name="val", role="validation", source="val.csv")
    tests = [replace(train, name=name, role="test", source="x.csv") for name in predictions]
    return RunReport(
        command="probe",
        name="first run",
        task=TaskReport("multilabel", NAMES, NAMES, "mask", "zeros", None),
        backbone=sample_backbone(),
        split_origin="the split of the given files",
        splits=(train, validation, *tests),
        overlaps=(OverlapReport("train", "test", 2, ("00001", "00007")),),
        probe=_sample_probe(),
        results=tuple(
            SetReport(name, plain_evaluation(evaluate_predictions(one)))
            for name, one in predictions.items()
        ),
        warnings=("2 patients are both in train and in test",),
    )


def plain_evaluation(evaluation: Evaluation) -> Evaluation:
    """Keep AUROC and counts; everything else is None or empty, as in a report of old."""
    labels = tuple(
        replace(
            label,
            standard_error=None,
            design_effect=None,
            average_precision=None,
            brier=None,
            calibration_error=None,
            calibration=None,
            operating_points=(),
        )
        for label in evaluation.labels
    )
    return replace(evaluation, labels=labels, averages=())


def sample_backbone() -> BackboneReport:
    """Make a backbone with weights from a file without a published hash."""
    return BackboneReport(
        tag="medaug-resnet50-chexpert",
        name="medaug",
        arch="resnet50",
        pretrained_on="chexpert",
        features="pooled",
        feature_dim=2048,
        preprocessing="published",
        precision="float32",
        weights="medaug.pth",
        weights_sha256="cd" * 32,
        verified=False,
        verification="not verified: no published hash",
        random_weights=None,
        fingerprint="ab" * 32,
    )


def _sample_probe() -> ProbeReport:
    fitted = ProbeLabelReport(
        name="",
        C=0.25,
        c_from="shared",
        strength=0.01,
        at_limit=False,
        iterations=31,
        converged=True,
        positives=10,
        negatives=88,
        reason=None,
        notes=(),
    )
    labels = [replace(fitted, name=name) for name in NAMES]
    labels[0] = replace(labels[0], c_from="validation", C=1.5, converged=False, iterations=500)
    labels[5] = replace(
        labels[5],
        C=None,
        c_from=None,
        strength=None,
        iterations=None,
        converged=None,
        positives=0,
        reason=NOT_SCORED["Hernia"],
    )
    trial = TrialReport(0.01, 0.25, (0.5, 0.4, None, 0.3, 0.2, None), 0.9)
    return ProbeReport(
        kind="logreg",
        solver="scikit-learn lbfgs, float64",
        objective="C · Σ log-loss + ½‖w‖²",
        max_iter=500,
        tolerance=1e-6,
        seed=0,
        labels=tuple(labels),
        path=(trial,),
    )


# --- A run with everything a report can hold, made by hand: no number is computed here


def estimate(value: float, width: float = 0.05) -> Estimate:
    """Make an estimate with limits around its value."""
    return Estimate(value, value - width, value + width, None, ())


def full_report(predictions: dict[str, Predictions]) -> RunReport:
    """Make the report of a run with metrics, subgroups, floor, curve and all else."""
    report = sample_report(predictions)
    first, *others = report.results
    later = tuple(replace(full_set(one), drop=sample_drop(first.name)) for one in others)
    return replace(
        report,
        results=(full_set(first), *later),
        pretraining=(
            PretrainingReport("test", ("NIH <ChestX-ray14>",), "images of the set come from NIH."),
        ),
        curve=tuple(point for name in predictions for point in sample_curve(name)),
    )


def full_set(result: SetReport) -> SetReport:
    """Add to a set all that may be known of it."""
    evaluation = result.evaluation
    averages = tuple(
        Average(average, metric, estimate(0.5 + 0.1 * i), evaluation.macro_labels)
        for average in ("macro", "weighted", "micro")
        for i, metric in enumerate(("auroc", "average_precision", "brier", "calibration_error"))
        if (average, metric) != ("macro", "auroc")
    )
    labels = tuple(map(full_label, evaluation.labels))
    groups = (("sex", "F", 30), ("sex", "(blank)", 3), ("view", "PA <script>", 47))
    return replace(
        result,
        evaluation=replace(evaluation, labels=labels, averages=averages),
        subgroups=tuple(_subgroup(*group, evaluation) for group in groups),
        within_strata=WithinStrata(
            ("view", "sex"),
            6,
            estimate(0.55),
            evaluation.macro_labels,
            tuple(label.auroc for label in labels),
        ),
        floor=sample_floor(evaluation),
        detectable=DetectableReport(0.0234, 0.0084, None),
    )


def full_label(label: LabelResult) -> LabelResult:
    """Add every metric to a label; without a positive they are undefined, with the reason."""
    if label.auroc.value is None:
        return label
    prevalence = label.positives / (label.positives + label.negatives)
    bins = tuple(
        CalibrationBin(5, p, min(1.0, p * 1.3)) for p in np.linspace(0.01, 0.7, 15).tolist()
    )
    calibration = Calibration(prevalence, 0.28, estimate(0.12), estimate(0.81), bins)
    return replace(
        label,
        standard_error=0.061,
        design_effect=1.7,
        average_precision=estimate(0.41),
        brier=estimate(0.19),
        calibration_error=Estimate(0.08, None, None, None, ()),
        calibration=calibration,
        operating_points=(sample_point(), sample_point(chosen=False)),
    )


def sample_point(*, chosen: bool = True) -> OperatingPoint:
    """Make an operating point, or one that validation could not choose."""
    if chosen:
        shown = [estimate(0.8), estimate(0.7), estimate(0.45), estimate(0.92), estimate(0.58)]
        return OperatingPoint("youden", -0.4, 0.401, None, (31, 69), 16, 15, 35, 4, *shown)
    reason = "validation has 4 positives, fewer than 10"
    missing = Estimate(None, None, None, reason, ())
    return OperatingPoint(
        "sensitivity>=0.90", None, None, reason, (4, 96), 0, 0, 0, 0, *[missing] * 5
    )


def _subgroup(column: str, value: str, rows: int, evaluation: Evaluation) -> Subgroup:
    few = Estimate(0.6, None, None, "no interval: all rows are of one patient", ())
    one_class = Estimate(None, None, None, "no positives among 3 known rows", ())
    found = [few if rows == 3 else estimate(0.61)] * len(evaluation.labels)
    found[2] = found[5] = one_class
    labels = tuple(
        SubgroupLabel(label.name, auroc, 0 if auroc is one_class else 2, rows - 2)
        for label, auroc in zip(evaluation.labels, found, strict=True)
    )
    return Subgroup(column, value, rows, rows - 2, found[0], evaluation.macro_labels, labels)


def sample_floor(evaluation: Evaluation, low: float = 0.021) -> FloorReport:
    """Make a baseline that is exceeded where `low`, the lower limit of the difference, is > 0."""
    difference = sample_difference(0.11, low, 0.199, evaluation.macro_labels)
    labels = tuple(estimate(0.6) for _ in evaluation.labels)
    return FloorReport(("age", "sex", "view"), estimate(0.6), labels, difference, low > 0, None)


def sample_difference(value: float, low: float, high: float, labels: tuple[str, ...]) -> Difference:
    """Make a difference with its test."""
    return Difference(
        difference=value,
        low=low,
        high=high,
        standard_error=0.04,
        t=2.7,
        degrees_of_freedom=40.0,
        p_value=0.006,
        reason=None,
        cautions=(),
        first=0.6 + value,
        second=0.6,
        labels=labels,
    )


def sample_drop(internal: str) -> DropReport:
    """Make a difference from the set `internal`."""
    return DropReport(internal, sample_difference(-0.043, -0.071, -0.012, NAMES[:2]), 0)


def sample_curve(set_name: str) -> tuple[CurvePointReport, ...]:
    """Make a label-efficiency curve of three sizes, the first with a repeat that failed."""
    macro = ((0.55, None, 0.61), (0.66, 0.68, 0.7), (0.74,))
    return tuple(
        CurvePointReport(
            set_name=set_name,
            kind="fraction",
            size=size,
            rows=(int(100 * size),) * len(values),
            patients=(int(60 * size),) * len(values),
            macro=values,
            labels=NAMES[:2],
            mean=float(np.mean([v for v in values if v is not None])),
            low=min(v for v in values if v is not None),
            high=max(v for v in values if v is not None),
        )
        for size, values in zip((0.1, 0.5, 1.0), macro, strict=True)
    )


def uneven_curve(set_name: str) -> tuple[CurvePointReport, ...]:
    """Make a curve whose smallest size lacks the second of two labels in one of three repeats."""
    small, *others = sample_curve(set_name)
    small = replace(
        small, labels=NAMES[:1], missing=(CurveMissingReport(NAMES[1], repeats=1, of=2),)
    )
    common = (
        CurveMacroReport(NAMES[:1], macro, mean, low, high)
        for macro, mean, low, high in (
            (small.macro, small.mean, small.low, small.high),
            ((0.60, 0.61, 0.62), 0.61, 0.60, 0.62),
            ((0.65,), 0.65, 0.65, 0.65),
        )
    )
    return tuple(
        replace(point, common=one) for point, one in zip((small, *others), common, strict=True)
    )


def sample_training(epochs: int = 3) -> FinetuneReport:
    """Return the account of a training whose validation loss rises after the second epoch."""
    history = tuple(
        EpochReport(
            epoch=epoch,
            loss=0.7 - 0.1 * epoch,
            rate=1e-3,
            skipped=0,
            validation_loss=0.6 + 0.05 * abs(epoch - 1),
            validation_auroc=None if epoch == 0 else 0.8 - 0.01 * epoch,
        )
        for epoch in range(epochs)
    )
    return FinetuneReport(
        optimizer="sgd",
        learning_rate=1e-3,
        momentum=0.9,
        weight_decay=0.0,
        layer_decay=1.0,
        schedule="cosine",
        warmup_epochs=0.0,
        clip_norm=None,
        batch_size=32,
        accumulate=1,
        ranks=1,
        pos_weight="none",
        head_init="probe",
        augment="light",
        batch_norm="local",
        frozen=None,
        learned=10,
        parameters=10,
        criterion="validation macro AUROC",
        judged_by=NAMES[:2],
        patience=15,
        ended="finished",
        epochs=epochs,
        best_epoch=1,
        history=history,
        seeds=(),
    )
