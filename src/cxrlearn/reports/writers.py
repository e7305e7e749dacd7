"""The folder of a run: each file whole or absent, the report last, then its rows in the ledger."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

from cxrlearn.errors import DataError
from cxrlearn.reports.csvtables import curve_csv, metrics_csv, table_csv
from cxrlearn.reports.document import REPORT, json_text, read_report, report_document
from cxrlearn.reports.html import page_html
from cxrlearn.reports.learning_curves import learning_figure
from cxrlearn.reports.ledger import LEDGER, append_ledger, ledger_rows
from cxrlearn.reports.panels import figure_png, figure_svg
from cxrlearn.reports.plots import set_figures
from cxrlearn.reports.predictions import predictions_file, predictions_text, set_file
from cxrlearn.reports.tables import table_markdown
from cxrlearn.runtime.atomic import disk_errors, replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cxrlearn.reports.predictions import Predictions
    from cxrlearn.reports.schema import RunReport

PAGE = "report.html"
CURVE = "curve.csv"
_FIGURES = ("roc", "pr", "calibration", "curve")


def write_run(
    folder: Path,
    report: RunReport,
    predictions: Mapping[str, Predictions],
    settings_toml: str,
    provenance: Mapping[str, object],
    *,
    figures: bool = True,
) -> tuple[Path, ...]:
    """Write everything a run leaves; the folder is made if it is missing.

    report.json comes last: a folder without it is not finished. It names the hash of each
    predictions file, so a report is never read with predictions of another run. Predictions and
    figures of sets that an earlier report of this folder named, and this one does not, are removed.
    The rows in `ledger.csv` beside the folder follow the report.

    Args:
        folder: usually `runs/<name>`.
        report: the run.
        predictions: by test set, for exactly the sets of `report.results`.
        settings_toml: the resolved settings, see `toml_text`.
        provenance: everything volatile; written to provenance.json and into the report.
        figures: False draws none, neither as files nor in report.html.

    Returns:
        The files written into the folder.

    Raises:
        DiskError: the folder or a file cannot be written.
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
    document = json_text(report_document(report, provenance, written))
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
        REPORT: document,
    }
    files = drawn.files | {name: text.encode("utf-8") for name, text in texts.items()}
    _write(folder, files)
    digest = hashlib.sha256(document.encode()).hexdigest()
    append_ledger(folder.parent / LEDGER, ledger_rows(report, provenance, digest))
    return tuple(folder / name for name in files)


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
    with disk_errors(folder, "No result was written."):
        folder.mkdir(parents=True, exist_ok=True)
    stale = _named_before(folder) - set(files)
    for name, content in files.items():
        step = f"run.{name.partition('-')[0].removesuffix('.json')}"
        replace_file(folder / name, partial(_put, content=content), step=step)
    for name in sorted(stale):
        (folder / name).unlink(missing_ok=True)


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _named_before(folder: Path) -> set[str]:
    """Return what not every run has, of the report that stands in `folder`, if one does."""
    try:
        report = read_report(folder)
    except DataError:
        return set()
    results = report.get("results", [])
    listed = {(result.get("predictions") or {}).get("file", "") for result in results}
    names = {name for name in listed if name.startswith("predictions-") and "/" not in name}
    sets = [result["name"] for result in results if isinstance(result.get("name"), str)]
    return (
        names
        | ({CURVE} if report.get("curve") else set())
        | {
            set_file(kind, name, form)
            for name in sets
            for kind in _FIGURES
            for form in ("png", "svg")
        }
    )
