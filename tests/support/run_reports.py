"""A small finished run with awkward names: predictions, and the report that belongs to them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.reports.predictions import Predictions
from cxrlearn.reports.schema import (
    BackboneReport,
    LabelCount,
    OverlapReport,
    ProbeLabelReport,
    ProbeReport,
    RunReport,
    SetReport,
    SplitReport,
    TaskReport,
    TrialReport,
)

if TYPE_CHECKING:
    from cxrlearn.evaluation.results import Evaluation

NAMES = (
    "Pleural_Thickening",
    'Nodule/Mass, "solid"',
    "Ödem | Stauung",
    "_a_ *b* `c` [d] <e> #f ~g~ &amp; \\",
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
        n_replicates=100,
        seed=5,
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
        results=tuple(SetReport(n, evaluate_predictions(p)) for n, p in predictions.items()),
        warnings=("2 patients are both in train and in test",),
    )


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
