"""`cxrlearn probe`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from cxrlearn.cli import options
from cxrlearn.cli.app import app, guarded
from cxrlearn.cli.console import Terminal
from cxrlearn.cli.embed import EXIT_FAILED_IMAGES, report_failures

if TYPE_CHECKING:
    from cxrlearn.workflows.probe import ProbeResult


@app.command()
@guarded
def probe(
    context: typer.Context,
    use_logreg: options.UseLogreg = None,
    linear: options.Linear = None,
    knn: options.Knn = None,
    model: options.Model = None,
    arch: options.Arch = None,
    pretrained_on: options.PretrainedOn = None,
    features: options.Features = None,
    weights: options.Weights = None,
    preprocessing: options.Preprocessing = None,
    random_weights: options.RandomWeights = None,
    precision: options.Precision = None,
    store: options.Store = None,
    offline: options.Offline = None,
    csv: options.Csv = None,
    train_csv: options.TrainCsv = None,
    val_csv: options.ValCsv = None,
    test_csv: options.TestCsv = None,
    image_root: options.ImageRoot = None,
    path_column: options.PathColumn = None,
    path_prefix: options.PathPrefix = None,
    path_suffix: options.PathSuffix = None,
    split_column: options.SplitColumn = None,
    split_by_image: options.SplitByImage = None,
    patient_column: options.PatientColumn = None,
    intensity: options.Intensity = None,
    strict: options.Strict = None,
    limit: options.Limit = None,
    class_columns: options.ClassColumns = None,
    task: options.Task = None,
    positive: options.Positive = None,
    label_separator: options.LabelSeparator = None,
    blank: options.Blank = None,
    uncertain: options.Uncertain = None,
    num_classes: options.NumClasses = None,
    C: options.C = None,
    solver: options.Solver = None,
    max_iter: options.MaxIter = None,
    class_weight: options.ClassWeight = None,
    standardize: options.Standardize = None,
    learning_rate: options.LearningRate = None,
    epochs: options.Epochs = None,
    k: options.Neighbours = None,
    seed: options.Seed = None,
    operating_point: options.OperatingPoint = None,
    subgroup: options.Subgroup = None,
    floor_columns: options.FloorColumns = None,
    aggregate_by: options.AggregateBy = None,
    aggregate: options.Aggregate = None,
    origin: options.Origin = None,
    null: options.Null = None,
    train_fraction: options.TrainFraction = None,
    few_shot: options.FewShot = None,
    repeats: options.Repeats = None,
    device: options.Device = None,
    gpus: options.Gpus = None,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    memory_limit: options.MemoryLimit = None,
    allow_failures: options.AllowFailures = None,
    features_dir: options.FeaturesDir = None,
    output_dir: options.OutputDir = None,
    name: options.Name = None,
    overwrite: options.Overwrite = None,
    config: options.Config = None,
    show_config: options.ShowConfig = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
    as_json: options.Json = False,
) -> None:
    """Fit a probe on cached features and report AUROC with intervals.

    The fit sees train only, every choice is made on validation, results are of the test sets.
    Images without features are embedded first.

    For example:

      cxrlearn probe --use-logreg

      cxrlearn probe -m cxr-tiny --csv all.csv --class-columns Cardiomegaly,Effusion

      cxrlearn probe --linear --train-fraction 0.01,0.1,1
    """
    from cxrlearn.cli.settings import build_config
    from cxrlearn.workflows.preflight import all_problems
    from cxrlearn.workflows.probe import run_probe
    from cxrlearn.workflows.probe_config import ProbeConfig

    terminal = Terminal(quiet=quiet, as_json=as_json)
    settings = build_config(ProbeConfig, "probe", context, terminal, os.environ)
    with all_problems("probe", settings):
        result = run_probe(settings, terminal)
    render_probe(result, terminal, details=verbose)
    if result.failed and not result.allow_failures:
        raise typer.Exit(EXIT_FAILED_IMAGES)


def render_probe(result: ProbeResult, terminal: Terminal, *, details: bool = False) -> None:
    """Print the table of a run, and where everything is."""
    from cxrlearn.cli.tables import result_tables

    terminal.show(*result_tables(result.report, details=details))
    report_failures(result.failed, terminal)
    terminal.notice(
        f"everything is in {result.folder}/ (report.html, report.json, table.md, predictions)"
    )
    if terminal.as_json:
        from cxrlearn.reports.document import read_report

        terminal.show_json(read_report(result.folder))
