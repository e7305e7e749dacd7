"""`cxrlearn finetune`."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

import typer

from cxrlearn.cli import options
from cxrlearn.cli.app import app, guarded
from cxrlearn.cli.console import Terminal
from cxrlearn.cli.embed import EXIT_FAILED_IMAGES, report_failures

if TYPE_CHECKING:
    from cxrlearn.workflows.finetune_run import FinetuneResult


@app.command()
@guarded
def finetune(
    context: typer.Context,
    model: options.Model = None,
    arch: options.Arch = None,
    pretrained_on: options.PretrainedOn = None,
    features: options.FinetuneFeatures = None,
    weights: options.Weights = None,
    preprocessing: options.Preprocessing = None,
    random_weights: options.RandomWeights = None,
    precision: options.TrainPrecision = None,
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
    optimizer: options.Optimizer = None,
    learning_rate: options.Rate = None,
    momentum: options.Momentum = None,
    weight_decay: options.WeightDecay = None,
    layer_decay: options.LayerDecay = None,
    epochs: options.TrainEpochs = None,
    batch_size: options.TrainBatch = None,
    accumulate: options.Accumulate = None,
    schedule: options.Schedule = None,
    warmup_epochs: options.WarmupEpochs = None,
    clip_norm: options.ClipNorm = None,
    patience: options.Patience = None,
    pos_weight: options.PosWeight = None,
    head_init: options.HeadInit = None,
    freeze_to: options.FreezeTo = None,
    freeze_backbone: options.FreezeBackbone = None,
    batch_norm: options.BatchNorm = None,
    augment: options.Augment = None,
    seeds: options.Seeds = None,
    deterministic: options.Deterministic = None,
    save_every: options.SaveEvery = None,
    resume: options.Resume = None,
    max_restarts: options.MaxRestarts = None,
    null: options.Null = None,
    seed: options.Seed = None,
    operating_point: options.OperatingPoint = None,
    subgroup: options.Subgroup = None,
    floor_columns: options.FloorColumns = None,
    aggregate_by: options.AggregateBy = None,
    aggregate: options.Aggregate = None,
    origin: options.Origin = None,
    device: options.Device = None,
    gpus: options.Gpus = None,
    workers: options.Workers = None,
    cache_dir: options.CacheDir = None,
    allow_failures: options.AllowFailures = None,
    features_dir: options.FeaturesDir = None,
    output_dir: options.OutputDir = None,
    name: options.Name = None,
    overwrite: options.Overwrite = None,
    tensorboard: options.Tensorboard = None,
    config: options.Config = None,
    show_config: options.ShowConfig = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
    as_json: options.Json = False,
) -> None:
    """Train a backbone end to end and report AUROC with intervals.

    Trains on train, chooses the epoch on validation, and looks at the test sets once. SIGTERM and
    Ctrl-C save first; --resume goes on as if nothing had been.

    For example:

      cxrlearn finetune --gpus 0,1

      cxrlearn finetune -m cxr-tiny --csv all.csv --class-columns Cardiomegaly,Effusion

      cxrlearn finetune --optimizer adamw --learning-rate 1e-4 --layer-decay 0.75 --warmup-epochs 1
    """
    from cxrlearn.cli.settings import build_config
    from cxrlearn.training.distributed import find_place
    from cxrlearn.workflows.finetune import run_finetune
    from cxrlearn.workflows.finetune_config import FinetuneConfig
    from cxrlearn.workflows.preflight import all_problems

    place = find_place(os.environ)
    speaks = place is None or place.rank == 0  # of several processes one
    terminal = Terminal(quiet=quiet or not speaks, as_json=as_json)
    settings = build_config(FinetuneConfig, "finetune", context, terminal, os.environ)
    with all_problems("finetune", settings) if place is None else nullcontext():
        result = run_finetune(settings, terminal)
    if speaks:
        render_finetune(result, terminal, details=verbose)
    if result.failed and not result.allow_failures:
        raise typer.Exit(EXIT_FAILED_IMAGES)


def render_finetune(result: FinetuneResult, terminal: Terminal, *, details: bool = False) -> None:
    """Print the table of a run, and where everything is."""
    from cxrlearn.cli.tables import result_tables

    terminal.show(*result_tables(result.report, details=details))
    report_failures(result.failed, terminal)
    terminal.notice(
        f"everything is in {result.folder}/ (report.html, report.json, table.md, predictions, "
        "learning.png, best.safetensors)"
    )
    if terminal.as_json:
        from cxrlearn.reports.document import read_report

        terminal.show_json(read_report(result.folder))
