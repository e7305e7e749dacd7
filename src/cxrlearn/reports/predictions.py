"""predictions-<set>.csv: truth and scores of every image, from which a report can be recomputed."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrlearn.errors import DataError
from cxrlearn.reports.csvtext import csv_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FloatArray = npt.NDArray[np.float64]

_PARTS = ("true", "logit", "prob")
_BASELINE, _GROUP = "baseline_logit", "group_"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Predictions:
    """The rows of one set."""

    image_ids: tuple[str, ...]
    """N ids."""
    patient_ids: tuple[str | None, ...]
    """N patients, None where unknown."""
    names: tuple[str, ...]
    """L labels or classes."""
    values: npt.NDArray[np.int8]
    """(N, L) of 0 and 1; multi-class: one-hot."""
    known: npt.NDArray[np.bool_]
    """(N, L), False where the label is masked."""
    logits: FloatArray
    """(N, L) log-odds; NaN for labels without a fit."""
    probabilities: FloatArray
    """(N, L) in [0, 1]; NaN for labels without a fit."""
    baseline: FloatArray | None = None
    """(N, L) log-odds of the metadata baseline; None without one."""
    groups: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    """N values of each column that makes subgroups or strata."""

    def __post_init__(self) -> None:
        """Check that all parts have the same rows and labels.

        Raises:
            ValueError: they have not, or a patient id is blank.
        """
        shape = (len(self.image_ids), len(self.names))
        arrays = [self.values, self.known, self.logits, self.probabilities]
        arrays += [] if self.baseline is None else [self.baseline]
        if any(array.shape != shape for array in arrays) or len(self.patient_ids) != shape[0]:
            raise ValueError(f"predictions of {shape[0]} images and {shape[1]} labels do not fit")
        if "" in self.patient_ids:
            raise ValueError("a patient id is blank; an unknown patient is None")


def predictions_file(set_name: str) -> str:
    """Return the name of the predictions file of a set, see `set_file`."""
    return set_file("predictions", set_name, "csv")


def set_file(kind: str, set_name: str, suffix: str) -> str:
    """Return `<kind>-<set>.<suffix>`; other characters than letters, digits, `._-` become `-`.

    Names that had to be changed end with a hash of the original, so that two never meet.
    """
    if _PLAIN_NAME.fullmatch(set_name):
        return f"{kind}-{set_name}.{suffix}"
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", set_name)[:64].strip("-.")
    digest = hashlib.sha256(set_name.encode()).hexdigest()[:8]
    return f"{kind}-{readable}-{digest}.{suffix}"


def predictions_text(predictions: Predictions) -> str:
    """Return the CSV: image_id, patient_id, then true_, logit_ and prob_ columns of every label.

    After them baseline_logit_ of every label where there is a metadata baseline, and group_ of
    every column that makes subgroups or strata: every number of a report can be recomputed.
    Numbers have as many digits as it takes to read back the same float64. Blank: an unknown
    patient, a masked label, a score that does not exist.
    """
    baseline, groups = predictions.baseline, predictions.groups
    parts = _PARTS if baseline is None else (*_PARTS, _BASELINE)
    header = [f"{part}_{name}" for part in parts for name in predictions.names]
    text = [["image_id", "patient_id", *header, *(f"{_GROUP}{name}" for name in groups)]]
    known = predictions.known.tolist()
    truth = [
        [str(v) if k else "" for v, k in zip(*row, strict=True)]
        for row in zip(predictions.values.tolist(), known, strict=True)
    ]
    rows = zip(
        predictions.image_ids,
        predictions.patient_ids,
        truth,
        _number_texts(predictions.logits),
        _number_texts(predictions.probabilities),
        [()] * len(truth) if baseline is None else _number_texts(baseline),
        zip(*groups.values(), strict=True) if groups else [()] * len(truth),
        strict=True,
    )
    for image, patient, labels, logits, probabilities, floor, cells in rows:
        of_groups = ["" if cell is None else cell for cell in cells]
        text.append([image, patient or "", *labels, *logits, *probabilities, *floor, *of_groups])
    return csv_text(text)


def _number_texts(array: FloatArray) -> list[list[str]]:
    return [[repr(v) if v == v else "" for v in row] for row in array.tolist()]  # noqa: PLR0124


def read_predictions(path: Path, *, sha256: str | None = None) -> Predictions:
    """Read a file that `predictions_text` wrote, to the same bits.

    Args:
        path: the file.
        sha256: the hash its report names; None skips that check.

    Raises:
        DataError: it is missing, not such a file (the message names row and column), or not the
            one its report was made with.
    """
    try:
        content = path.read_bytes()
        text = io.StringIO(content.decode("utf-8"), newline="")
        header, *rows = list(csv.reader(text, strict=True)) or [[]]
    except FileNotFoundError as error:
        raise DataError(f"no predictions at {path}: is it in the folder of a run?") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the predictions {path}: {error}") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{path} is not the file its report was made with: run the probe again.")
    names, with_baseline, groups = _columns(path, header)
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(f"{path}, row {number}: {len(row)} columns instead of {len(header)}.")
    end = 2 + len(names)
    truth = _numbers(path, header, rows, 2, end)
    known = ~np.isnan(truth)
    if not np.isin(truth[known], (0, 1)).all():
        raise DataError(f"{path}: a true_ column holds something else than 0, 1 or blank.")
    return Predictions(
        image_ids=tuple(row[0] for row in rows),
        patient_ids=tuple(row[1] or None for row in rows),
        names=names,
        values=np.where(known, truth, 0).astype(np.int8),
        known=known,
        logits=_numbers(path, header, rows, end, end + len(names)),
        probabilities=_numbers(path, header, rows, end + len(names), end + 2 * len(names)),
        baseline=_numbers(path, header, rows, end + 2 * len(names), end + 3 * len(names))
        if with_baseline
        else None,
        groups={
            name: tuple(row[len(header) - len(groups) + place] or None for row in rows)
            for place, name in enumerate(groups)
        },
    )


def _columns(path: Path, header: list[str]) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """Return the labels, whether there is a baseline, and the columns of groups."""
    groups = [column for column in header[2:] if column.startswith(_GROUP)]
    numbers = len(header) - 2 - len(groups)
    with_baseline = any(column.startswith(f"{_BASELINE}_") for column in header)
    parts = (*_PARTS, _BASELINE) if with_baseline else _PARTS
    names = [column.removeprefix("true_") for column in header[2 : 2 + numbers // len(parts)]]
    expected = ["image_id", "patient_id", *(f"{p}_{name}" for p in parts for name in names)]
    if not names or header != [*expected, *groups]:
        raise DataError(
            f"{path} does not hold predictions: its columns must be image_id, patient_id, and "
            "true_, logit_ and prob_ of every label."
        )
    return tuple(names), with_baseline, tuple(name.removeprefix(_GROUP) for name in groups)


def _numbers(
    path: Path, header: list[str], rows: list[list[str]], start: int, end: int
) -> FloatArray:
    result = np.full((len(rows), end - start), np.nan)
    for i, row in enumerate(rows):
        for column in range(start, end):
            if row[column] == "":
                continue
            try:
                result[i, column - start] = float(row[column])
            except ValueError as error:
                raise DataError(
                    f"{path}, row {i + 2}, column {header[column]!r}: expected a number, "
                    f"got {row[column]!r}."
                ) from error
    return result
