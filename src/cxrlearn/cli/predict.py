"""`cxrlearn predict`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from cxrlearn.cli import options
from cxrlearn.cli.app import HELPERS, app, guarded
from cxrlearn.cli.console import Terminal, duration
from cxrlearn.cli.embed import EXIT_FAILED_IMAGES, SHOWN_FAILURES
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from cxrlearn.workflows.predict import PredictResult


@app.command(rich_help_panel=HELPERS)
@guarded
def predict(
    context: typer.Context,
    run: options.Run = None,
    csv: options.NewCsv = None,
    images: options.NewImages = None,
    image_root: options.ImageRoot = None,
    path_column: options.PathColumn = None,
    path_prefix: options.PathPrefix = None,
    path_suffix: options.PathSuffix = None,
    limit: options.Limit = None,
    weights: options.Weights = None,
    offline: options.Offline = None,
    device: options.Device = None,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    saliency: options.Saliency = None,
    saliency_label: options.SaliencyLabel = None,
    output: options.Predictions = None,
    overwrite: options.OverwritePredictions = None,
    allow_failures: options.AllowFailures = None,
    features_dir: options.FeaturesDir = None,
    output_dir: options.RunsDir = None,
    config: options.Config = None,
    show_config: options.ShowConfig = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    as_json: options.Json = False,
) -> None:
    """Use a finished run on new images.

    Writes a probability for every label, and a decision where validation chose a threshold. How
    images are read follows the run. For research: nothing here is a medical device.

    For example:

      cxrlearn predict --run cxr-tiny-logreg --csv new.csv

      cxrlearn predict --run runs/cxr-tiny-logreg --images dicoms/ --output out.parquet

      cxrlearn predict --run cxr-tiny-logreg --csv new.csv --saliency overlays/
    """
    from cxrlearn.cli.settings import build_config
    from cxrlearn.workflows.predict import run_predict
    from cxrlearn.workflows.predict_config import PredictConfig
    from cxrlearn.workflows.preflight import all_problems

    terminal = Terminal(quiet=quiet, as_json=as_json)
    settings = build_config(PredictConfig, "predict", context, terminal, os.environ)
    with all_problems("predict", settings):
        result = run_predict(settings, terminal)
    _render(result, terminal)
    if result.overlays is not None:
        _render_saliency(result.overlays, str(settings.saliency), terminal)
    if result.failed and not result.allow_failures:
        raise typer.Exit(EXIT_FAILED_IMAGES)


def _render(result: PredictResult, terminal: Terminal) -> None:
    count, failed = len(result.table.image_ids), len(result.failed)
    parts = [counted(count, "image"), *([f"{failed:,} failed"] if failed else [])]
    terminal.show(f"{result.output}: {', '.join(parts)}; {', '.join(result.run.labels)}")
    terminal.show(*_decisions(result))
    terminal.notice(f"took {duration(result.seconds)}")
    if failed:
        terminal.warning(f"{counted(failed, 'image')} could not be read; the table says why:")
        for name in sorted(result.failed)[:SHOWN_FAILURES]:
            terminal.warning(f"  {name}: {result.failed[name]}")
        if failed > SHOWN_FAILURES:
            terminal.warning(f"  and {failed - SHOWN_FAILURES} more, in {result.output}.")
    terminal.show_json(
        {
            "run": str(result.run.folder),
            "output": str(result.output),
            "images": count,
            "labels": list(result.run.labels),
            "operating_points": [
                {"rule": rule.name, "thresholds": list(rule.thresholds)}
                for rule in result.run.rules
            ],
            "positive": result.positives,
            "failed": result.failed,
            "overlays": result.overlays,
            "seconds": round(result.seconds, 3),
        }
    )


def _decisions(result: PredictResult) -> list[str]:
    """Say how many images each label was decided for, and where there is no threshold."""
    lines = []
    for rule in result.run.rules:
        for label, reason in zip(result.run.labels, rule.reasons, strict=True):
            if reason is None:
                positive = result.positives[rule.name][label]
                lines.append(f"  {label} ({rule.name}): {positive:,} positive")
            else:
                lines.append(f"  {label} ({rule.name}): not decided, {reason}")
    return lines


def _render_saliency(overlays: int, folder: str, terminal: Terminal) -> None:
    from cxrlearn.workflows.predict_saliency import CAUTION

    terminal.show(f"{folder}: {counted(overlays, 'overlay')}, listed in saliency.csv")
    terminal.notice(CAUTION)
