"""`predict`: a finished run on new images."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.data.columns import OFF
from cxrlearn.data.faults import did_you_mean, quoted
from cxrlearn.data.manifest import read_manifest, scan_folder
from cxrlearn.data.missing_images import missing_images_hint
from cxrlearn.errors import DataError, UsageError
from cxrlearn.runtime.devices import resolve_device
from cxrlearn.runtime.events import SILENT
from cxrlearn.workflows.effects import unused_weights
from cxrlearn.workflows.predict_config import PredictConfig
from cxrlearn.workflows.predict_finetuned import open_finetuned, score_finetuned
from cxrlearn.workflows.predict_probe import (
    check_explainable,
    network_of,
    open_probe,
    score_with_probe,
)
from cxrlearn.workflows.predict_run import check_model, open_run
from cxrlearn.workflows.predict_saliency import draw_saliency
from cxrlearn.workflows.predict_table import (
    PredictionTable,
    check_place,
    prediction_table,
    write_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cxrlearn.backbones.trainable import TrainableModel
    from cxrlearn.data.images import Intensity
    from cxrlearn.data.manifest import Manifest
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.predict_probe import Scores
    from cxrlearn.workflows.predict_run import FinishedRun


@dataclass(frozen=True)
class PredictResult:
    """What `predict` did."""

    run: FinishedRun
    """With what."""
    table: PredictionTable
    """Probabilities and decisions."""
    output: Path
    """Where the table is."""
    overlays: int | None
    """Overlays drawn; None where none were asked for."""
    seconds: float
    """Time taken."""
    allow_failures: bool
    """Whether failed images are acceptable."""

    @property
    def failed(self) -> dict[str, str]:
        """Image id to reason."""
        pairs = zip(self.table.image_ids, self.table.failures, strict=True)
        return {name: reason for name, reason in pairs if reason is not None}

    @property
    def positives(self) -> dict[str, dict[str, int]]:
        """By operating rule and label, how many images are called positive."""
        return {
            rule: {
                label: int((decided[:, place] == 1).sum())
                for place, label in enumerate(self.table.labels)
            }
            for rule, decided in self.table.decisions.items()
        }


def run_predict(config: PredictConfig, reporter: Reporter = SILENT) -> PredictResult:
    """Score new images with a finished run and write a table of probabilities and decisions.

    Raises:
        UsageError: there is no such run, or it cannot be explained as asked.
        DataError: the run's report or the manifest is damaged.
        WeightsError: the backbone's weights are not here.
        FeatureFileError: the features would be other ones than those a probe was fitted on.
        TrainingError: probe or checkpoint are missing or damaged.
        HardwareError: the device is not there.
        DiskError: a result cannot be written.
    """
    started = time.monotonic()
    run = open_run(config.run or "", config.output_dir)
    _check_label(run, config)
    check_place(config.output, [] if config.csv is None else [config.csv])
    if config.device != "auto":
        resolve_device(config.device)  # a device that is not there is said before any work
    manifest = _manifest(config, reporter)
    _caution(run, config, reporter)
    model = _open(run, config, reporter)
    check_model(run)
    table = prediction_table(run, manifest.image_ids, model.score(manifest))
    write_table(table, config.output)
    overlays = None
    if config.saliency is not None:
        overlays = draw_saliency(
            model.network(),
            manifest,
            table,
            config.saliency,
            label=config.saliency_label,
            intensity=model.intensity,
            reporter=reporter,
        )
    seconds = time.monotonic() - started
    return PredictResult(run, table, config.output, overlays, seconds, config.allow_failures)


@dataclass(frozen=True)
class _Model:
    """A model of either kind."""

    score: Callable[[Manifest], Scores]
    """Scores the images of a manifest."""
    network: Callable[[], TrainableModel]
    """Pictures to logits, for gradients."""
    intensity: Intensity
    """How files of more than 8 bits become grey."""


def _open(run: FinishedRun, config: PredictConfig, reporter: Reporter) -> _Model:
    if run.command == "probe":
        probe = open_probe(run, config, reporter)
        if config.saliency is not None:
            check_explainable(probe, config.saliency_label)
        return _Model(
            score=lambda manifest: score_with_probe(probe, manifest, reporter),
            network=lambda: network_of(probe, reporter),
            intensity=probe.embedding.intensity,
        )
    if run.command == "finetune":
        tuned = open_finetuned(run.folder, config, reporter)
        return _Model(
            score=lambda manifest: score_finetuned(tuned, manifest, config, reporter),
            network=lambda: tuned.model,
            intensity=tuned.account.intensity,
        )
    raise DataError(
        f"{run.folder} is a run of {run.command!r}: predict takes runs of probe and finetune."
    )


def _check_label(run: FinishedRun, config: PredictConfig) -> None:
    label = config.saliency_label
    if label is not None and label not in run.labels:
        raise UsageError(
            f"--saliency-label {label!r} is no label of {run.folder}."
            f"{did_you_mean(label, run.labels)} It has {quoted(run.labels)}."
        )


def _manifest(config: PredictConfig, reporter: Reporter) -> Manifest:
    """Read the manifest or scan the folder."""
    if config.images is not None:
        manifest = scan_folder(config.images, limit=config.limit)
    elif config.csv is not None:
        manifest = read_manifest(
            config.csv,
            name=config.csv.stem,
            image_root=config.image_root,
            path_column=config.path_column,
            path_prefix=config.path_prefix,
            path_suffix=config.path_suffix,
            patient_column=OFF,
            limit=config.limit,
        )
    else:  # PredictConfig has refused this
        raise UsageError("no images: give --csv FILE or --images DIR.")
    for notice in manifest.notices:
        reporter.notice(notice)
    hint = missing_images_hint(manifest)
    if hint is not None:
        reporter.warning(hint)
    return manifest


def _caution(run: FinishedRun, config: PredictConfig, reporter: Reporter) -> None:
    """Say what makes the predictions mean less than they seem, and what has no effect.

    Raises:
        UsageError: a weight file is given for another backbone.
    """
    if config.weights and run.command == "finetune":
        reporter.warning("--weights is not used: a finetuned run has weights of its own.")
    if config.features_dir != PredictConfig.features_dir and run.command == "finetune":
        reporter.warning("--features-dir has no effect: a finetuned run reads images only.")
    unused = list(unused_weights(config.weights, (str(run.backbone["name"]),)))
    if unused and run.command == "probe":
        raise UsageError(*unused)
    if run.backbone.get("random_weights") is not None:
        reporter.warning(
            f"{run.folder} has a backbone of random weights: predictions mean nothing."
        )
    if run.null_control:
        reporter.warning(f"{run.folder} is a label-permutation control: predictions mean nothing.")
    by = run.settings.get("aggregate_by")
    if by is not None:
        reporter.warning(
            f"thresholds of {run.folder} were chosen on predictions joined by {by!r}; here every "
            "image is decided on its own."
        )
