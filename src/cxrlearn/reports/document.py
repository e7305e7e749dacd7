"""RunReport to the text of report.json and back to plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrlearn.errors import DataError
from cxrlearn.reports.protocol import backbone_sentence, protocol_sentences
from cxrlearn.reports.schema import SCHEMA_VERSION, RunReport

if TYPE_CHECKING:
    from pathlib import Path

REPORT = "report.json"


def report_document(
    report: RunReport,
    provenance: Mapping[str, object],
    predictions: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Return report.json as plain data.

    Args:
        report: the run.
        provenance: everything volatile: versions, host, time.
        predictions: for each set, `file` and `sha256` of its predictions; None before they exist.

    Raises:
        ValueError: a number is NaN or infinite; the message names its key.
        TypeError: a value is not plain data.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        **asdict(report),
        "protocol": [backbone_sentence(report), *protocol_sentences(report)],
        "provenance": provenance,
    }
    for result in document["results"]:
        result["predictions"] = None if predictions is None else predictions[result["name"]]
    plain = _plain(document, "report")
    return dict(plain)


def json_text(document: Mapping[str, object]) -> str:
    """Return sorted, indented JSON that is the same for equal documents, with a final newline.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    plain = _plain(document, "document")
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: object, key: str) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Turn tuples into lists and NumPy's numbers into Python's; refuse all else by its key."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{key}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{key} is {value}; a report holds null with a reason instead")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{key} is of type {type(value).__name__}, which JSON cannot hold")


def read_report(path: Path) -> dict[str, Any]:
    """Return the report.json at `path`, or in the folder `path`, as plain data.

    Raises:
        DataError: it is missing, damaged, not a report, or of a newer version.
    """
    file = path / REPORT if path.is_dir() else path
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"no report at {file}: is {path} the folder of a finished run?") from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the report {file}: {error}") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise DataError(f"{file} is not a report of cxrlearn: it has no schema_version.")
    if version > SCHEMA_VERSION:
        raise DataError(
            f"{file} has schema version {version}; this cxrlearn reads up to {SCHEMA_VERSION}. "
            "Update cxrlearn."
        )
    return dict(document)
