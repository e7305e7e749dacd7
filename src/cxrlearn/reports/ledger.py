"""runs/ledger.csv: one row for each run, test set and label, appended by many processes at once.

A row is one line, whatever the names hold. Writers take turns by a lock that the system frees when
one is killed. What a killed writer left of a line is moved to `<ledger>.torn` before the next row,
so the ledger holds whole rows only and nothing disappears; that run's own report.json, written
before its rows, has the numbers.
"""

from __future__ import annotations

import csv
import io
import os
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from cxrlearn.errors import DataError, DiskError
from cxrlearn.reports.csvtext import csv_text
from cxrlearn.runtime.atomic import disk_errors, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cxrlearn.evaluation.results import Estimate
    from cxrlearn.reports.schema import RunReport, SetReport

LEDGER = "ledger.csv"
COLUMNS = (
    "time", "run", "command", "probe", "backbone", "weights_sha256", "fingerprint", "set", "label",
    "metric", "value", "low", "high", "positives", "negatives", "masked", "patients", "seed",
    "caution", "cxrlearn", "report_sha256",
)  # fmt: skip
"""Columns of the ledger; later versions may add some at the end."""
MACRO = "(macro)"
"""`label` of the average."""
WAIT_SECONDS = 60.0
"""How long a writer waits for its turn; a turn takes milliseconds."""
_NEEDED = {"run", "set", "label", "metric", "value"}


def append_ledger(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Append `rows`, all of them together; the file is made, with its header, if it is missing.

    A ledger of another version keeps its columns, in its order: those that it lacks are added at
    the end, blank in its earlier rows; those that `rows` lack are left blank.

    Args:
        path: usually `runs/ledger.csv`; its folder must exist.
        rows: cells by column; line ends within a cell become blanks.

    Raises:
        DataError: what stands at `path` is not a ledger; it is left as it is.
        DiskError: it cannot be written, or another process held the lock for a minute.
    """
    rescue = "The run itself is complete; only its rows in the ledger are missing."
    with disk_errors(path, rescue):
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(timeout=WAIT_SECONDS)
        except Timeout:
            raise DiskError(
                f"cannot write {path}: another process has held its lock for "
                f"{WAIT_SECONDS:.0f} s. {rescue}"
            ) from None
        try:
            _set_torn_line_aside(path)
            header = _prepare(path, list(dict.fromkeys(key for row in rows for key in row)))
            _append(path, "".join(_line([row.get(name, "") for name in header]) for row in rows))
        finally:
            lock.release()


def _line(cells: Sequence[str]) -> str:
    return csv_text([[" ".join(cell.splitlines()) for cell in cells]])


def _set_torn_line_aside(path: Path) -> None:
    """Move what follows the last line end to `<path>.torn`: only a killed writer leaves that."""
    content = path.read_bytes() if _ends_within_a_line(path) else b""
    torn = content[content.rfind(b"\n") + 1 :]
    if not torn:
        return
    aside = path.with_name(f"{path.name}.torn")
    with aside.open("ab") as file:
        file.write(torn + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.truncate(path, len(content) - len(torn))


def _ends_within_a_line(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except FileNotFoundError:
        return False


def _prepare(path: Path, columns: list[str]) -> list[str]:
    """Return the header of the ledger, made or widened so that it holds `columns`.

    Raises:
        DataError: the file is not a ledger.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            first = file.readline()
    except FileNotFoundError:
        first = ""
    except UnicodeDecodeError as error:
        raise _not_a_ledger(path) from error
    if not first:
        _append(path, _line(columns))
        return columns
    header = next(csv.reader(io.StringIO(first, newline="")), [])
    if not set(header) >= _NEEDED:
        raise _not_a_ledger(path)
    added = [column for column in columns if column not in header]
    if added:
        _widen(path, header + added, len(added))
    return header + added


def _not_a_ledger(path: Path) -> DataError:
    return DataError(
        f"{path} is not a ledger of cxrlearn (its first line names no columns run, set, label, "
        "metric and value) and was left as it is. Rename it; the next run starts a new ledger. "
        "The run itself is complete."
    )


def _widen(path: Path, header: list[str], added: int) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    text = "".join(map(_line, [header, *([*row, *[""] * added] for row in rows)]))
    write_text(path, text, step="ledger.widen")


def _append(path: Path, text: str) -> None:
    content = text.encode("utf-8")
    with path.open("ab", buffering=0) as file:
        # One call writes all of it, unless the disk is full or the process is killed.
        while content:
            content = content[file.write(content) :]
        os.fsync(file.fileno())


# --- The rows of a run


def ledger_rows(
    report: RunReport, provenance: Mapping[str, object], report_sha256: str
) -> list[dict[str, str]]:
    """Return the AUROC of every set and label, and of every macro, as rows of the ledger.

    Args:
        report: the run.
        provenance: `created` (ISO 8601, UTC) and `versions` are taken from it, where they are.
        report_sha256: hash of the report.json that holds the same numbers.
    """
    versions = provenance.get("versions")
    run = {
        "time": str(provenance.get("created", "")),
        "run": report.name,
        "command": report.command,
        "probe": report.probe.kind,
        "backbone": report.backbone.tag,
        "weights_sha256": report.backbone.weights_sha256 or "",
        "fingerprint": report.backbone.fingerprint,
        "seed": str(report.probe.seed),
        "cxrlearn": str(versions.get("cxrlearn", "")) if isinstance(versions, dict) else "",
        "report_sha256": report_sha256,
    }
    found = (run | row for result in report.results for row in _set_rows(report, result))
    return [{column: row.get(column, "") for column in COLUMNS} for row in found]


def _set_rows(report: RunReport, result: SetReport) -> list[dict[str, str]]:
    patients = {split.name: split.patients for split in report.splits}.get(result.name)
    common = {
        "set": result.name,
        "metric": "auroc",
        "patients": "" if patients is None else str(patients),
    }
    general = _cautions(report, result)
    rows = []
    for label in result.evaluation.labels:
        counts = {
            "label": label.name,
            "positives": str(label.positives),
            "negatives": str(label.negatives),
            "masked": str(label.masked),
        }
        rows.append(common | counts | _numbers(label.auroc, general))
    rows.append(common | {"label": MACRO} | _numbers(result.evaluation.macro, general))
    return rows


def _numbers(estimate: Estimate, general: list[str]) -> dict[str, str]:
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    said = [*general, estimate.reason, *estimate.cautions]
    cells = {name: "" if number is None else repr(number) for name, number in numbers.items()}
    return cells | {"caution": "; ".join(text for text in said if text)}


def _cautions(report: RunReport, result: SetReport) -> list[str]:
    """Return what keeps every number of a set from speaking for the backbone."""
    said = []
    if report.null_control:
        said.append("label-permutation control")
    if report.backbone.random_weights is not None:
        said.append(f"random weights, seed {report.backbone.random_weights}")
    said += [
        f"pretraining may hold this set: {', '.join(one.datasets)}"
        for one in report.pretraining
        if one.split == result.name and one.datasets
    ]
    return said
