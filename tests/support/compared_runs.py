"""Run folders to compare: one truth, several models, made without features or a probe."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.reports.predictions import Predictions
from cxrlearn.reports.schema import LabelCount, SetReport
from cxrlearn.reports.writers import write_run
from tests.support.run_reports import sample_predictions, sample_report

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from cxrlearn.evaluation.results import Evaluation
    from cxrlearn.reports.schema import PretrainingReport, RunReport

LABELS = ("edema", "effusion")


def scored(
    strength: float,
    *,
    seed: int = 1,
    rows: int = 160,
    names: Sequence[str] = LABELS,
    truth_seed: int = 0,
    not_scored: Collection[str] = (),
) -> Predictions:
    """Score images of about half as many patients; equal `truth_seed`, equal images and truth.

    Models share most of their noise; `strength` is how far one parts the classes.
    """
    truth, own = np.random.default_rng(truth_seed), np.random.default_rng(seed)
    shape = (rows, len(names))
    values = (truth.random(shape) < 0.35).astype(np.int8)
    known = truth.random(shape) < 0.95
    owners = truth.integers(0, rows // 2, rows)
    logits = strength * values + truth.normal(size=shape) + 0.2 * own.normal(size=shape)
    for place, name in enumerate(names):
        if name in not_scored:
            logits[:, place] = np.nan
    return Predictions(
        image_ids=tuple(f"images/{i:04d}.png" for i in range(rows)),
        patient_ids=tuple(f"P{owner:03d}" for owner in owners),
        names=tuple(names),
        values=values * known,
        known=known,
        logits=logits,
        probabilities=expit(logits),
    )


def write_compared(
    folder: Path,
    sets: dict[str, Predictions],
    *,
    random_weights: int | None = None,
    null_control: bool = False,
    pretraining: tuple[PretrainingReport, ...] = (),
) -> RunReport:
    """Write the folder of a finished run with these predictions."""
    names = next(iter(sets.values())).names
    sample = sample_report({"any": sample_predictions()})
    counts = tuple(LabelCount(name, 10, 88, 2) for name in names)
    train = replace(sample.splits[0], labels=counts)
    fit = replace(
        sample.probe, labels=tuple(replace(sample.probe.labels[1], name=n) for n in names)
    )
    report = replace(
        sample,
        name=folder.name,
        task=replace(sample.task, labels=names, columns=names),
        backbone=replace(sample.backbone, random_weights=random_weights),
        splits=(train, *(replace(train, name=name, role="test") for name in sets)),
        probe=fit,
        results=tuple(SetReport(name, _evaluated(rows)) for name, rows in sets.items()),
        null_control=null_control,
        pretraining=pretraining,
        overlaps=(),
        curve=(),
    )
    write_run(folder, report, sets, "[probe]\n", {"host": "here"}, figures=False)
    return report


def _evaluated(rows: Predictions) -> Evaluation:
    return evaluate(
        rows.values,
        rows.logits,
        known=rows.known,
        names=rows.names,
        kind="multilabel",
        patients=rows.patient_ids,
        image_ids=rows.image_ids,
        not_scored={
            name: "not fitted"
            for place, name in enumerate(rows.names)
            if np.isnan(rows.logits[:, place]).all()
        },
    )


def subset(rows: Predictions, kept: Sequence[int]) -> Predictions:
    """Keep some rows, in the order given."""
    at = np.array(kept, dtype=np.intp)
    return replace(
        rows,
        image_ids=tuple(rows.image_ids[i] for i in kept),
        patient_ids=tuple(rows.patient_ids[i] for i in kept),
        values=rows.values[at],
        known=rows.known[at],
        logits=rows.logits[at],
        probabilities=rows.probabilities[at],
    )
