"""`cxrlearn embed`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from cxrlearn.cli import options
from cxrlearn.cli.app import app, guarded
from cxrlearn.cli.console import Terminal, duration
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from cxrlearn.workflows.embed import EmbedResult

EXIT_FAILED_IMAGES = 3
SHOWN_FAILURES = 10


@app.command()
@guarded
def embed(
    context: typer.Context,
    model: options.Models = None,
    arch: options.Arch = None,
    pretrained_on: options.PretrainedOn = None,
    features: options.Features = None,
    weights: options.Weights = None,
    preprocessing: options.Preprocessing = None,
    random_weights: options.RandomWeights = None,
    offline: options.Offline = None,
    csv: options.Csv = None,
    train_csv: options.TrainCsv = None,
    val_csv: options.ValCsv = None,
    test_csv: options.TestCsv = None,
    images: options.Images = None,
    image_root: options.ImageRoot = None,
    path_column: options.PathColumn = None,
    path_prefix: options.PathPrefix = None,
    path_suffix: options.PathSuffix = None,
    intensity: options.Intensity = None,
    limit: options.Limit = None,
    device: options.Device = None,
    gpus: options.Gpus = None,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    precision: options.Precision = None,
    store: options.Store = None,
    verify_content: options.VerifyContent = None,
    allow_failures: options.AllowFailures = None,
    output_dir: options.OutputDir = None,
    config: options.Config = None,
    show_config: options.ShowConfig = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    as_json: options.Json = False,
) -> None:
    """Run a frozen backbone over every image and cache its features.

    Can be stopped at any moment: the same command goes on where it was. Images that cannot be
    read are listed and tried again next time.

    For example:

      cxrlearn embed --model chexzero

      cxrlearn embed -m cxr-tiny --images films/ --output-dir features
    """
    from cxrlearn.cli.settings import build_config
    from cxrlearn.workflows.embed import run_embed
    from cxrlearn.workflows.embed_config import EmbedConfig
    from cxrlearn.workflows.preflight import all_problems

    terminal = Terminal(quiet=quiet, as_json=as_json)
    settings = build_config(EmbedConfig, "embed", context, terminal, os.environ)
    with all_problems("embed", settings):
        result = run_embed(settings, terminal)
    _render(result, terminal)
    if result.failed and not result.allow_failures:
        raise typer.Exit(EXIT_FAILED_IMAGES)


def _render(result: EmbedResult, terminal: Terminal) -> None:
    for file in result.files:
        parts = [f"{file.computed:,} computed"]
        parts += [
            f"{count:,} {word}"
            for count, word in (
                (file.copied, "copied"),
                (file.unchanged, "unchanged"),
                (len(file.failed), "failed"),
            )
            if count
        ]
        terminal.show(
            f"{file.file}: {counted(file.rows, 'image')}, {file.dim} features each "
            f"({', '.join(parts)})"
        )
    computed = sum(file.computed for file in result.files)
    if computed:
        terminal.notice(
            f"took {duration(result.seconds)}, {computed / result.seconds:.1f} images/s"
        )
    report_failures(result.failed, terminal)
    terminal.show_json(
        {
            "images": result.images,
            "seconds": round(result.seconds, 3),
            "files": [
                {
                    "tag": file.tag, "file": str(file.file), "dim": file.dim, "rows": file.rows,
                    "computed": file.computed, "copied": file.copied, "unchanged": file.unchanged,
                    "failed": file.failed, "constant": list(file.constant),
                    "notices": file.notices,
                }
                for file in result.files
            ],
        }
    )  # fmt: skip


def report_failures(failed: dict[str, str], terminal: Terminal) -> None:
    """List images that could not be read, the first few by name."""
    if not failed:
        return
    terminal.warning(
        f"{counted(len(failed), 'image')} could not be read and got no features; the next run "
        "tries again:"
    )
    for name in sorted(failed)[:SHOWN_FAILURES]:
        terminal.warning(f"  {name}: {failed[name]}")
    if len(failed) > SHOWN_FAILURES:
        terminal.warning(
            f"  and {len(failed) - SHOWN_FAILURES} more; `cxrlearn embed` records them in /failed."
        )
