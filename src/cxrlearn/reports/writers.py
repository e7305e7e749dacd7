"""The folder of a run: each file whole or absent, the report last."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cxrlearn.errors import DataError
from cxrlearn.reports.csvtables import metrics_csv, table_csv
from cxrlearn.reports.document import REPORT, json_text, read_report, report_document
from cxrlearn.reports.predictions import predictions_file, predictions_text
from cxrlearn.reports.tables import table_markdown
from cxrlearn.runtime.atomic import disk_errors, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cxrlearn.reports.predictions import Predictions
    from cxrlearn.reports.schema import RunReport


def write_run(
    folder: Path,
    report: RunReport,
    predictions: Mapping[str, Predictions],
    settings_toml: str,
    provenance: Mapping[str, object],
) -> tuple[Path, ...]:
    """Write everything a run leaves; the folder is made if it is missing.

    report.json comes last: a folder without it is not finished. It names the hash of each
    predictions file, so a report is never read with predictions of another run. Predictions that
    an earlier report of this folder named, and this one does not, are removed.

    Args:
        folder: usually `runs/<name>`.
        report: the run.
        predictions: by test set, for exactly the sets of `report.results`.
        settings_toml: the resolved settings, see `toml_text`.
        provenance: everything volatile; written to provenance.json and into the report.

    Returns:
        The files written.

    Raises:
        DiskError: the folder or a file cannot be written.
        ValueError: predictions and results name different sets, or a number is not finite.
    """
    names = [result.name for result in report.results]
    if sorted(names) != sorted(predictions):
        raise ValueError(f"results are of {names}, predictions of {sorted(predictions)}")
    texts = {predictions_file(name): predictions_text(predictions[name]) for name in names}
    written = {
        name: {
            "file": predictions_file(name),
            "sha256": hashlib.sha256(texts[predictions_file(name)].encode()).hexdigest(),
        }
        for name in names
    }
    texts |= {
        "table.csv": table_csv(report),
        "metrics.csv": metrics_csv(report),
        "table.md": table_markdown(report),
        "settings.toml": settings_toml,
        "provenance.json": json_text(provenance),
        REPORT: json_text(report_document(report, provenance, written)),
    }
    with disk_errors(folder, "No result was written."):
        folder.mkdir(parents=True, exist_ok=True)
    stale = _listed_predictions(folder) - set(texts)
    for name, text in texts.items():
        write_text(folder / name, text, step=f"run.{name.partition('-')[0].removesuffix('.json')}")
    for name in sorted(stale):
        (folder / name).unlink(missing_ok=True)
    return tuple(folder / name for name in texts)


def _listed_predictions(folder: Path) -> set[str]:
    """Return the names of predictions in the report that stands in `folder`, if one does."""
    try:
        document = read_report(folder)
    except DataError:
        return set()
    found = (result.get("predictions") or {} for result in document.get("results", []))
    names = {entry.get("file", "") for entry in found}
    return {name for name in names if name.startswith("predictions-") and "/" not in name}
