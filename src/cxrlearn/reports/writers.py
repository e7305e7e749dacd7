"""The folder of a run, written as a whole; then its rows in the ledger."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

from cxrlearn.reports.csvtables import curve_csv, metrics_csv, table_csv
from cxrlearn.reports.document import REPORT, json_text, report_document
from cxrlearn.reports.html import page_html
from cxrlearn.reports.learning_curves import learning_figure
from cxrlearn.reports.ledger import LEDGER, append_ledger, ledger_rows
from cxrlearn.reports.panels import figure_png, figure_svg
from cxrlearn.reports.plots import set_figures
from cxrlearn.reports.predictions import predictions_file, predictions_text, set_file
from cxrlearn.reports.run_files import hashes, keep_other_files, sealed
from cxrlearn.reports.tables import table_markdown
from cxrlearn.runtime.atomic import disk_errors, replace_file
from cxrlearn.runtime.folders import replaced_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cxrlearn.reports.predictions import Predictions
    from cxrlearn.reports.schema import RunReport

PAGE = "report.html"
CURVE = "curve.csv"


def write_run(
    folder: Path,
    report: RunReport,
    predictions: Mapping[str, Predictions],
    settings_toml: str,
    provenance: Mapping[str, object],
    *,
    figures: bool = True,
    more: Callable[[Path], None] | None = None,
) -> tuple[Path, ...]:
    """Write the folder of a run as a whole: it holds the old run or the new one, never both.

    Everything is written into a new folder beside it, which then takes its place. report.json
    lists the SHA-256 of every file, see `check_run_files`. What the old run in this folder wrote
    is removed; files of anybody else are carried over. The rows in `ledger.csv` beside the folder
    follow.

    Args:
        folder: usually `runs/<name>`.
        report: the run.
        predictions: by test set, for exactly the sets of `report.results`.
        settings_toml: the resolved settings, see `toml_text`.
        provenance: everything volatile; written to provenance.json and into the report.
        figures: False draws none, neither as files nor in report.html.
        more: writes further files of the run, such as its probe, into the folder that it is given.

    Returns:
        The tables, figures and reports written into the folder.

    Raises:
        DiskError: the folder or a file cannot be written; what was there before is untouched.
        DataError: the ledger is another file; everything else is written.
        ValueError: predictions and results name different sets, or a number is not finite.
    """
    names = [result.name for result in report.results]
    if sorted(names) != sorted(predictions):
        raise ValueError(f"results are of {names}, predictions of {sorted(predictions)}")
    tables = {predictions_file(name): predictions_text(predictions[name]) for name in names}
    written = {
        name: {
            "file": predictions_file(name),
            "sha256": hashlib.sha256(tables[predictions_file(name)].encode()).hexdigest(),
        }
        for name in names
    }
    document = report_document(report, provenance, written)
    drawn = _Drawn(report, predictions if figures else {})
    texts = tables | {
        "table.csv": table_csv(report),
        "metrics.csv": metrics_csv(report),
        "table.md": table_markdown(report),
        "settings.toml": settings_toml,
        "provenance.json": json_text(provenance),
        PAGE: page_html(
            report, provenance, drawn.svgs, settings=settings_toml, learning=drawn.learning
        ),
        **({CURVE: curve_csv(report)} if report.curve else {}),
    }
    files = drawn.files | {name: text.encode("utf-8") for name, text in texts.items()}
    with replaced_folder(folder, step="run") as new:
        if more is not None:
            more(new)
        _write(new, files)
        text = json_text(sealed(document, hashes(new)))
        _write(new, {REPORT: text.encode("utf-8")})
        with disk_errors(folder, "What was there before is untouched."):
            keep_other_files(folder, new)
    digest = hashlib.sha256(text.encode()).hexdigest()
    append_ledger(folder.parent / LEDGER, ledger_rows(report, provenance, digest))
    return tuple(folder / name for name in (*files, REPORT))


class _Drawn:
    """The figures of a run, each drawn once, as files and for the page."""

    def __init__(self, report: RunReport, predictions: Mapping[str, Predictions]) -> None:
        self.svgs: dict[str, dict[str, str]] = {}
        self.files: dict[str, bytes] = {}
        self.learning: str | None = None
        if report.finetune is not None and predictions:
            figure = learning_figure(report.finetune)
            self.learning = figure_svg(figure)
            self.files["learning.svg"] = self.learning.encode("utf-8")
            self.files["learning.png"] = figure_png(figure)
        for result in report.results:
            if result.name not in predictions:
                continue
            found = set_figures(result, predictions[result.name], report.curve)
            svgs = {kind: figure_svg(figure) for kind, figure in found.items()}
            self.svgs[result.name] = svgs
            for kind, figure in found.items():
                self.files[set_file(kind, result.name, "svg")] = svgs[kind].encode("utf-8")
                self.files[set_file(kind, result.name, "png")] = figure_png(figure)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        step = f"run.{name.partition('-')[0].removesuffix('.json')}"
        replace_file(folder / name, partial(_put, content=content), step=step)


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)
