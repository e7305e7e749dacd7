"""`probe`: logistic regression on cached features, chosen on validation, reported on test."""

from __future__ import annotations

import csv
import io
import tomllib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from cxrlearn.errors import DataError, UsageError
from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.probes.grid import Validation
from cxrlearn.probes.logistic import (
    DEFAULT_C,
    DEFAULT_C_MULTICLASS,
    LogisticSolver,
    fit_logistic,
)
from cxrlearn.probes.model import check_features
from cxrlearn.probes.saved import ProbeMeta, save_probe
from cxrlearn.probes.selection import choose_c
from cxrlearn.reports.predictions import Predictions
from cxrlearn.reports.writers import write_run
from cxrlearn.runtime.atomic import disk_errors, write_text
from cxrlearn.runtime.events import SILENT
from cxrlearn.runtime.provenance import provenance
from cxrlearn.workflows.datasets import load_labels, load_sets
from cxrlearn.workflows.probe_features import load_features
from cxrlearn.workflows.probe_report import build_report
from cxrlearn.workflows.settings import Setting, settings_toml

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from cxrlearn.evaluation.results import Evaluation
    from cxrlearn.probes.model import LogisticFit
    from cxrlearn.probes.selection import Choice
    from cxrlearn.reports.schema import RunReport
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.datasets import ImageSets, LabelledSets
    from cxrlearn.workflows.probe_config import ProbeConfig
    from cxrlearn.workflows.probe_features import ProbeFeatures

NOT_COMPARED = {
    "overwrite",
    "workers",
    "device",
    "gpus",
    "batch_size",
    "allow_failures",
    "offline",
    "name",
}
"""Settings that do not decide a result: a run may be repeated with others."""


@dataclass(frozen=True)
class ProbeResult:
    """What a probe came to."""

    report: RunReport
    """Everything, as in report.json."""
    folder: Path
    """`runs/<name>`."""
    failed: dict[str, str]
    """Image id to reason, for images that could not be read."""
    allow_failures: bool
    """Whether failed images are acceptable."""


@dataclass(frozen=True)
class SplitData:
    """Features and labels of the rows of one split that have both."""

    image_ids: tuple[str, ...]
    """N ids."""
    patients: tuple[str | None, ...]
    """N patients."""
    features: NDArray[np.float32]
    """(N, D)."""
    values: NDArray[np.int8]
    """(N, L) of 0 and 1."""
    known: NDArray[np.bool_]
    """(N, L)."""


class _Recorder:
    """Passes everything on to a reporter and keeps the warnings for the report."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.warnings: list[str] = []
        self.notice = reporter.notice
        self.progress = reporter.progress

    def warning(self, message: str) -> None:
        self.warnings.append(message)
        self._reporter.warning(message)


def run_probe(config: ProbeConfig, reporter: Reporter = SILENT) -> ProbeResult:
    """Fit a probe on train, choose C on validation, report on the test sets.

    Raises:
        UsageError: settings contradict each other, or another run has that name.
        DataError: a fault of a manifest or a label.
        CxrlearnError: whatever embedding missing images raises.
    """
    recorder = _Recorder(reporter)
    sets = load_sets(config, recorder)
    labelled = load_labels(sets, config, recorder)
    if config.name is not None:
        _refuse_other_run(config.output_dir / config.name, config)
    features = load_features(config, sets, recorder)
    folder = config.output_dir / (config.name or f"{features.target.tag}-logreg")
    _refuse_other_run(folder, config)
    data = {name: _join(name, sets, labelled, features) for name in sets.named()}

    choice = _choose(config, labelled, data, recorder)
    fit = fit_probe(config, labelled, data["train"], _values(config, labelled, choice))
    _warn_of_fit(fit, recorder)
    predictions = {name: predict(fit, data[name]) for name in sets.tests}
    evaluations = {name: _evaluate(config, fit, predictions[name]) for name in sets.tests}
    report = build_report(
        folder.name,
        config,
        sets,
        labelled,
        features,
        fit,
        choice,
        evaluations,
        tuple(recorder.warnings),
    )
    _write(folder, report, predictions, sets, config, fit, features)
    return ProbeResult(report, folder, features.failed, config.allow_failures)


def _join(name: str, sets: ImageSets, labelled: LabelledSets, features: ProbeFeatures) -> SplitData:
    """Put labels and features of one split together, by position in its manifest."""
    manifest, split, labels = sets.named()[name], features.splits[name], labelled.labels[name]
    patients = manifest.patients
    image_ids = tuple(manifest.image_ids[row] for row in split.kept)
    check_features(split.features, image_ids)  # names the image, before a solver meets its NaN
    return SplitData(
        image_ids,
        tuple(patients[row] for row in split.kept),
        split.features,
        labels.values[split.kept],
        labels.known[split.kept],
    )


def _default_c(labelled: LabelledSets) -> float:
    return DEFAULT_C_MULTICLASS if labelled.task.kind == "multiclass" else DEFAULT_C


def _choose(
    config: ProbeConfig, labelled: LabelledSets, data: dict[str, SplitData], reporter: Reporter
) -> Choice | None:
    """Choose C on validation, if that is what was asked for and there is a validation split."""
    if isinstance(config.C, float) or (config.C is None and "val" not in data):
        return None
    if "val" not in data:
        raise UsageError("--C auto needs a validation split: C is chosen there. Or give a number.")
    train, val = data["train"], data["val"]
    names, kind = labelled.task.names, labelled.task.kind
    reporter.notice(f"choosing C on {len(val.image_ids):,} validation images")

    solver = LogisticSolver(
        train.features, train.values, train.known, kind, names, max_iter=config.max_iter
    )
    return choose_c(
        solver,
        train.features,
        Validation(val.features, val.values, val.known),
        names=names,
        kind=kind,
        default_c=_default_c(labelled),
    )


def _values(
    config: ProbeConfig, labelled: LabelledSets, choice: Choice | None
) -> float | tuple[float, ...]:
    if choice is not None:
        return choice.values
    return config.C if isinstance(config.C, float) else _default_c(labelled)


def fit_probe(
    config: ProbeConfig, labelled: LabelledSets, train: SplitData, values: float | tuple[float, ...]
) -> LogisticFit:
    """Fit the probe on the training rows, and on nothing else."""
    return fit_logistic(
        train.features,
        train.values,
        train.known,
        labelled.task.kind,
        names=labelled.task.names,
        C=values,
        max_iter=config.max_iter,
        ids=train.image_ids,
    )


def _warn_of_fit(fit: LogisticFit, reporter: Reporter) -> None:
    if len(fit.not_fitted) == len(fit.names):
        whys = "; ".join(f"{name}: {why}" for name, why in fit.not_fitted.items())
        raise DataError(f"no label can be fitted on the training set ({whys}).")
    for name, why in fit.not_fitted.items():
        reporter.warning(f"{name}: {why}.")
    unfinished = [label.name for label in fit.labels if label.converged is False]
    if unfinished:
        reporter.warning(
            f"the solver stopped before it had converged for {', '.join(unfinished)}: raise "
            "--max-iter."
        )


def predict(fit: LogisticFit, data: SplitData) -> Predictions:
    """Score the rows of one split."""
    logits = fit.decision(data.features, ids=data.image_ids)
    return Predictions(
        image_ids=data.image_ids,
        patient_ids=data.patients,
        names=fit.names,
        values=data.values,
        known=data.known,
        logits=logits,
        probabilities=fit.probabilities(data.features, ids=data.image_ids),
    )


def _evaluate(config: ProbeConfig, fit: LogisticFit, predictions: Predictions) -> Evaluation:
    return evaluate(
        predictions.values,
        predictions.logits,
        known=predictions.known,
        names=predictions.names,
        kind=fit.kind,
        patients=predictions.patient_ids,
        image_ids=predictions.image_ids,
        not_scored=fit.not_fitted,
        n_replicates=config.replicates,
        seed=config.seed,
    )


def run_settings(config: ProbeConfig) -> str:
    """Return the resolved settings of a run as TOML."""
    return settings_toml(
        "probe", {field.name: Setting(getattr(config, field.name), "") for field in fields(config)}
    )


def _refuse_other_run(folder: Path, config: ProbeConfig) -> None:
    """Let equal settings overwrite a run; others need another name.

    Raises:
        UsageError: a run of other settings has this name.
    """
    file = folder / "settings.toml"
    if config.overwrite or not file.is_file():
        return
    try:
        there = dict(tomllib.loads(file.read_text(encoding="utf-8"))["probe"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{folder} holds a run that cannot be read ({error}). Use --name or --overwrite."
        ) from error
    mine = tomllib.loads(run_settings(config))["probe"]
    differing = sorted(
        key
        for key in (there.keys() | mine.keys()) - NOT_COMPARED
        if there.get(key) != mine.get(key)
    )
    if differing:
        keys = ", ".join(differing)
        raise UsageError(
            f"{folder} holds a run with other settings ({keys} differ). Give this one a --name, "
            "or --overwrite it."
        )


def _write(
    folder: Path,
    report: RunReport,
    predictions: dict[str, Predictions],
    sets: ImageSets,
    config: ProbeConfig,
    fit: LogisticFit,
    features: ProbeFeatures,
) -> None:
    with disk_errors(folder, "No result was written."):
        folder.mkdir(parents=True, exist_ok=True)
    if sets.drawn:
        write_text(folder / "split.csv", _split_csv(sets), step="run.split")
    backbone = report.backbone
    save_probe(folder, fit, ProbeMeta(backbone.tag, backbone.fingerprint))
    made = provenance() | {"features": features.info.provenance}
    write_run(folder, report, predictions, run_settings(config), made)


def _split_csv(sets: ImageSets) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image_id", "patient_id", "split"])
    for name, manifest in sets.named().items():
        pairs = zip(manifest.image_ids, manifest.patients, strict=True)
        writer.writerows([image, patient or "", name] for image, patient in pairs)
    return text.getvalue()
