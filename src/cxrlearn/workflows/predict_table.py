"""Predictions of new images as a table, CSV or Parquet."""

from __future__ import annotations

import csv
import errno
import tempfile
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import expit

from cxrlearn.reports.csvtext import csv_text
from cxrlearn.runtime.atomic import disk_errors, replace_file, write_text
from cxrlearn.runtime.outputs import beginning, refuse_to_overwrite

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cxrlearn.workflows.predict_probe import Scores
    from cxrlearn.workflows.predict_run import FinishedRun, OperatingRule


@dataclass(frozen=True)
class PredictionTable:
    """One row an image, in the order of the manifest."""

    image_ids: tuple[str, ...]
    """N ids."""
    labels: tuple[str, ...]
    """L labels or classes."""
    probabilities: NDArray[np.float64]
    """(N, L) in [0, 1]; NaN where there is none."""
    decisions: dict[str, NDArray[np.float64]]
    """By operating rule, (N, L) of 0 and 1; NaN where there is no threshold or no score."""
    classes: tuple[str | None, ...] | None
    """N most probable classes; None for labels, which do not exclude each other."""
    failures: tuple[str | None, ...]
    """N reasons why an image has no prediction."""

    def columns(self) -> dict[str, Sequence[object]]:
        """Return the columns of the file; None is blank.

        `image_id`, for classes `class`, `prob_<label>`, `decision_<label>` of the first operating
        rule and `decision_<label>@<rule>` of others, `failure`.
        """
        columns: dict[str, Sequence[object]] = {"image_id": self.image_ids}
        if self.classes is not None:
            columns["class"] = self.classes
        for place, label in enumerate(self.labels):
            columns[f"prob_{label}"] = _blanked(self.probabilities[:, place])
        for number, (rule, decided) in enumerate(self.decisions.items()):
            for place, label in enumerate(self.labels):
                name = f"decision_{label}" if number == 0 else f"decision_{label}@{rule}"
                cells = _blanked(decided[:, place])
                columns[name] = [None if cell is None else int(cell) for cell in cells]
        columns["failure"] = self.failures
        return columns


def prediction_table(
    run: FinishedRun, image_ids: tuple[str, ...], scores: Scores
) -> PredictionTable:
    """Turn scores into probabilities and decisions."""
    probabilities = np.asarray(expit(scores.logits), dtype=np.float64)
    return PredictionTable(
        image_ids=image_ids,
        labels=run.labels,
        probabilities=probabilities,
        decisions={rule.name: _decide(rule, scores.logits) for rule in run.rules},
        classes=_classes(run, probabilities) if run.kind == "multiclass" else None,
        failures=tuple(scores.failed.get(row) for row in range(len(image_ids))),
    )


def is_prediction_table(file: Path) -> bool:
    """Tell by its columns whether `predict` wrote a file."""
    try:
        if file.suffix.lower() == ".csv":
            names = next(csv.reader([beginning(file).partition("\n")[0]]), [])
        else:
            import pyarrow.parquet as pq

            names = list(pq.read_schema(file).names)
    except (OSError, ValueError):
        return False
    first, last, between = names[:1], names[-1:], names[1:-1]
    return (
        first == ["image_id"]
        and last == ["failure"]
        and all(name == "class" or name.startswith(("prob_", "decision_")) for name in between)
    )


def check_place(file: Path, inputs: Iterable[Path] = ()) -> None:
    """Make the folder, and see that a file can be written there, before hours are spent.

    Raises:
        DiskError: it cannot.
        UsageError: it is one of the inputs, or not a table of predictions.
    """
    refuse_to_overwrite(file, is_prediction_table, command="predict", inputs=inputs)
    with disk_errors(file, "Nothing was predicted."):
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(file))
        with tempfile.TemporaryFile(dir=file.parent):
            pass


def write_table(table: PredictionTable, file: Path) -> None:
    """Write the table as the file's suffix says, whole or not at all.

    Raises:
        DiskError: it cannot be written.
    """
    columns = table.columns()
    if file.suffix.lower() == ".csv":
        rows = zip(*columns.values(), strict=True)
        cells = [[_text(cell) for cell in row] for row in rows]
        write_text(file, csv_text([list(columns), *cells]), step="predictions")
    else:
        replace_file(file, partial(_write_parquet, columns), step="predictions")


def _write_parquet(columns: dict[str, Sequence[object]], path: Path) -> None:
    frame = pd.DataFrame(
        {name: pd.Series(cells, dtype=_type(name)) for name, cells in columns.items()}
    )
    frame.to_parquet(path, index=False)


def _type(name: str) -> str:
    if name.startswith("prob_"):
        return "float64"
    return "Int8" if name.startswith("decision_") else "string"


def _text(cell: object) -> str:
    """Return a cell of a CSV; numbers have as many digits as read back the same."""
    if cell is None:
        return ""
    return repr(cell) if isinstance(cell, float) else str(cell)


def _blanked(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


def _decide(rule: OperatingRule, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    thresholds = np.array([np.nan if one is None else one for one in rule.thresholds])
    decided = (logits >= thresholds).astype(np.float64)
    decided[np.isnan(logits) | np.isnan(thresholds)] = np.nan
    return decided


def _classes(run: FinishedRun, probabilities: NDArray[np.float64]) -> tuple[str | None, ...]:
    """Return the most probable class of each row, the first of equal ones."""
    filled = np.nan_to_num(probabilities, nan=-1.0)
    best = filled.argmax(axis=1)
    return tuple(
        run.labels[place] if filled[row, place] >= 0 else None for row, place in enumerate(best)
    )
