"""`probe`: a probe on cached features, chosen on validation, reported on test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.errors import DataError
from cxrlearn.features.lock import writer_lock
from cxrlearn.probes.saved import ProbeMeta, save_probe
from cxrlearn.reports.writers import write_run
from cxrlearn.runtime.atomic import write_text
from cxrlearn.runtime.devices import resolve_device
from cxrlearn.runtime.events import SILENT
from cxrlearn.runtime.provenance import provenance
from cxrlearn.workflows.datasets import load_labels, load_sets, sorted_by_id
from cxrlearn.workflows.evaluate_splits import evaluate_splits
from cxrlearn.workflows.near_duplicate_warning import near_duplicate_warnings
from cxrlearn.workflows.null_control import permute_labels
from cxrlearn.workflows.probe_curve import label_efficiency
from cxrlearn.workflows.probe_data import join_splits
from cxrlearn.workflows.probe_evaluate import (
    check_columns,
)
from cxrlearn.workflows.probe_features import load_features
from cxrlearn.workflows.probe_fit import fit_probe
from cxrlearn.workflows.probe_report import build_report
from cxrlearn.workflows.run_folder import Recorder, refuse_other_run, settings_text, split_csv
from cxrlearn.workflows.shortcut_floor import floor_columns

if TYPE_CHECKING:
    from pathlib import Path

    from cxrlearn.data.tasks import Task
    from cxrlearn.reports.predictions import Predictions
    from cxrlearn.reports.schema import RunReport, SetReport
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.datasets import ImageSets, LabelledSets
    from cxrlearn.workflows.probe_config import ProbeConfig
    from cxrlearn.workflows.probe_data import SplitData
    from cxrlearn.workflows.probe_features import ProbeFeatures
    from cxrlearn.workflows.probe_fit import FittedProbe

NOT_COMPARED = {
    "overwrite",
    "workers",
    "device",
    "gpus",
    "batch_size",
    "allow_failures",
    "offline",
    "name",
    "memory_limit",
    "backbone_from",
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


def run_probe(config: ProbeConfig, reporter: Reporter = SILENT) -> ProbeResult:
    """Fit a probe on train, make every choice on validation, report on the test sets.

    Raises:
        UsageError: settings contradict each other, or another run has that name.
        DataError: a fault of a manifest or a label.
        HardwareError: the device is not there.
        FeatureFileError: another process is writing this run.
        CxrlearnError: whatever embedding missing images raises.
    """
    recorder = Recorder(reporter)
    sets = load_sets(config, recorder)
    sets, labelled = sorted_by_id(sets, load_labels(sets, config, recorder))
    tests = list(sets.tests.values())
    check_columns(config, sets.val, tests)
    others = tests if sets.val is None else [sets.val, *tests]
    below = floor_columns(config, sets.train, others)
    if config.name is not None:
        _refuse_other_run(config.output_dir / config.name, config)
    if config.device != "auto":
        resolve_device(config.device)  # a device that is not there is said before any work
    features = load_features(config, sets, recorder)
    folder = config.output_dir / (config.name or default_name(config, features.target.tag))
    with writer_lock(folder):
        _refuse_other_run(folder, config)
        return _fit_and_report(config, folder, sets, labelled, features, below, recorder)


def _fit_and_report(
    config: ProbeConfig,
    folder: Path,
    sets: ImageSets,
    labelled: LabelledSets,
    features: ProbeFeatures,
    below: tuple[str, ...],
    recorder: Recorder,
) -> ProbeResult:
    data = join_splits(sets, labelled, features)
    for sentence in near_duplicate_warnings(data):
        recorder.warning(sentence)
    if config.null:
        data = permute_labels(data, seed=config.seed)

    task = labelled.task
    fitted = fit_probe(config, task, data["train"], data.get("val"), recorder)
    _warn_of_fit(fitted, recorder)
    results, predictions = _evaluate(config, task, data, fitted, below)
    curve = label_efficiency(config, task, data, recorder)
    report = build_report(
        folder.name,
        config,
        sets,
        labelled,
        features,
        fitted.report,
        results,
        curve,
        tuple(recorder.warnings),
    )
    _write(folder, report, predictions, sets, config, fitted, features)
    return ProbeResult(report, folder, features.failed, config.allow_failures)


def default_name(config: ProbeConfig, tag: str) -> str:
    """Return the name of a run that was given none; a control never takes that of a real run."""
    return f"{tag}-{config.kind}{'-null' if config.null else ''}"


def _warn_of_fit(fitted: FittedProbe, reporter: Reporter) -> None:
    probe = fitted.probe
    if len(probe.not_fitted) == len(probe.names):
        whys = "; ".join(f"{name}: {why}" for name, why in probe.not_fitted.items())
        raise DataError(f"no label can be fitted on the training set ({whys}).")
    for name, why in probe.not_fitted.items():
        reporter.warning(f"{name}: {why}.")
    unfinished = [label.name for label in probe.labels if label.converged is False]
    if unfinished:
        reporter.warning(
            f"the solver stopped before it had converged for {', '.join(unfinished)}: raise "
            "--max-iter."
        )


def _evaluate(
    config: ProbeConfig,
    task: Task,
    data: dict[str, SplitData],
    fitted: FittedProbe,
    below: tuple[str, ...],
) -> tuple[tuple[SetReport, ...], dict[str, Predictions]]:
    """Score validation for its thresholds, then every test set."""
    logits = {
        name: fitted.decision(split.features) for name, split in data.items() if name != "train"
    }
    not_scored = dict(fitted.probe.not_fitted)
    return evaluate_splits(config, task, data, logits, not_scored=not_scored, below=below)


def run_settings(config: ProbeConfig) -> str:
    """Return the resolved settings of a run as TOML."""
    return settings_text("probe", config)


def _refuse_other_run(folder: Path, config: ProbeConfig) -> None:
    refuse_other_run(
        folder,
        "probe",
        run_settings(config),
        may_differ=NOT_COMPARED,
        overwrite=config.overwrite,
    )


def _write(
    folder: Path,
    report: RunReport,
    predictions: dict[str, Predictions],
    sets: ImageSets,
    config: ProbeConfig,
    fitted: FittedProbe,
    features: ProbeFeatures,
) -> None:
    meta = ProbeMeta(report.backbone.tag, report.backbone.fingerprint)

    def more(new: Path) -> None:
        if sets.drawn:
            write_text(new / "split.csv", split_csv(sets), step="run.split")
        save_probe(new, fitted.probe, meta)

    made = provenance() | {"features": features.info.provenance}
    write_run(folder, report, predictions, run_settings(config), made, more=more)
