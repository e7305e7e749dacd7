"""`cxrlearn compare`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cxrlearn.cli import options
from cxrlearn.cli.app import HELPERS, app, guarded
from cxrlearn.cli.console import Terminal
from cxrlearn.cli.streams import shown
from cxrlearn.errors import UsageError

if TYPE_CHECKING:
    from cxrlearn.reports.comparison import ComparisonReport
    from cxrlearn.reports.grids import Grid, GridCell

Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN",
        help=r"Folders of finished runs, or their names in --output-dir. \[default: all there]",
        show_default=False,
    ),
]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        "--output-dir",
        metavar="DIR",
        help=r"Where runs are. \[default: runs]",
        show_default=False,
        rich_help_panel=options.DATA,
    ),
]
Labels = Annotated[
    bool | None,
    typer.Option(
        "--labels",
        help="Show every label, with exploratory tests, not only the macro.",
        rich_help_panel=options.PROBE,
    ),
]
CommonRows = Annotated[
    bool | None,
    typer.Option(
        "--common-rows",
        help="Compare runs on different rows of a test set on the rows that they share.",
        rich_help_panel=options.PROBE,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Print markdown, csv, latex or html in place of the table.",
        show_default=False,
        rich_help_panel=options.OUTPUT,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Also write it to FILE.md, .csv, .tex or .html.",
        show_default=False,
        rich_help_panel=options.OUTPUT,
    ),
]


@app.command(rich_help_panel=HELPERS)
@guarded
def compare(
    context: typer.Context,
    runs: Runs = None,
    output_dir: OutputDir = None,
    labels: Labels = None,
    common_rows: CommonRows = None,
    format: Format = None,  # noqa: A002 - the option's name
    output: Output = None,
    config: options.Config = None,
    show_config: options.ShowConfig = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    as_json: options.Json = False,
) -> None:
    """Show finished runs in one table, and which differences between them are real.

    Runs are compared on test sets of equal images, labels and truth. The best of a row is bold; a
    dagger marks what cannot be told from it.

    For example:

      cxrlearn compare

      cxrlearn compare runs/chexzero-logreg runs/gloria-logreg --labels -o table.tex
    """
    from cxrlearn.cli.settings import build_config
    from cxrlearn.workflows.compare import FORMATS, CompareConfig, run_compare

    terminal = Terminal(quiet=quiet, as_json=as_json)
    if as_json and format is not None:
        raise UsageError("--json and --format exclude each other: both print on stdout.")
    settings = build_config(CompareConfig, "compare", context, terminal, os.environ)
    report = run_compare(settings, terminal)
    if settings.format is not None and not as_json:
        terminal.show_text(FORMATS[settings.format](report))
    else:
        render_comparison(report, terminal)
    if settings.output is not None:
        terminal.notice(f"the table is in {settings.output}")


def render_comparison(report: ComparisonReport, terminal: Terminal) -> None:
    """Print the tables and the notes, or JSON."""
    from cxrlearn.reports.comparison import comparison_document
    from cxrlearn.reports.grids import (
        comparison_grids,
        comparison_notes,
        long_results,
        without_single_set,
    )

    first, *others = comparison_grids(report)
    if _width(first) > shutil.get_terminal_size().columns:
        first = long_results(report)
    for grid in map(without_single_set, (first, *others)):
        terminal.show(_table(grid), "")
    terminal.show(*comparison_notes(report))
    terminal.show_json(comparison_document(report))


def _width(grid: Grid) -> int:
    """Return how many characters a line of the table takes."""
    texts = [list(grid.header), *([_text(cell) for cell in row.cells] for row in grid.rows)]
    return sum(2 + max(map(len, column)) for column in zip(*texts, strict=True))


def _table(grid: Grid) -> Table:
    table = Table(title=shown(grid.title), title_justify="left", box=None, pad_edge=False)
    for place, heading in enumerate(grid.header):
        if place < grid.names:
            table.add_column(shown(heading), overflow="fold")
        else:
            table.add_column(shown(heading), justify="right", no_wrap=True)
    for row in grid.rows:
        if row.rule:
            table.add_row()
        table.add_row(*map(_cell, row.cells))
    return table


def _cell(cell: GridCell) -> str:
    text = shown(_text(cell))
    return f"[bold]{text}[/bold]" if cell.bold else text


def _text(cell: GridCell) -> str:
    return f"{cell.text} {cell.marks}" if cell.marks else cell.text
