"""CSV and Parquet files to tables of text, with the row numbers a spreadsheet shows."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from cxrlearn.data.faults import Faults, did_you_mean, quoted
from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_DELIMITERS = (",", ";", "\t", "|")
_MISSING = frozenset({"", "nan", "<na>"})  # how pandas writes what is not there
_BOM_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, eq=False)
class Table:
    """The cells of a file."""

    frame: pd.DataFrame
    """Text or None (missing); blanks around a cell are gone; columns and rows in file order."""
    rows: tuple[int, ...]
    """Row number of each row of `frame`, the header being row 1."""


def read_table(file: Path) -> Table:
    """Read a CSV (comma, semicolon, tab or bar; plain or gzip) or Parquet file, known by content.

    Raises:
        DataError: missing, empty, not a table, of unknown encoding, without rows, with rows of
            another length than the header, or with two columns of one name.
    """
    data = _unzipped(file, _read_bytes(file))
    if data.startswith(b"PAR1"):
        return _read_parquet(file, data)
    return _read_csv(file, _decoded(file, data))


def _read_bytes(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        folder = file.absolute().parent
        if not folder.is_dir():
            raise DataError(f"{file}: no such file; the folder {folder} does not exist.") from error
        names = [entry.name for entry in folder.iterdir() if entry.is_file()]
        raise DataError(
            f"{file}: no such file in {folder}.{did_you_mean(file.name, names)}"
        ) from error
    except IsADirectoryError as error:
        raise DataError(
            f"{file} is a folder, not a CSV file. For a folder of images without a CSV: "
            f"cxrlearn embed --images {file}"
        ) from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}.") from error
    if not data:
        raise DataError(f"{file} is empty (0 bytes): expected a header and a row for each image.")
    return data


def _unzipped(file: Path, data: bytes) -> bytes:
    if data.startswith(b"PK\x03\x04"):
        raise DataError(
            f"{file} is an Excel workbook or a zip archive: save the sheet as 'CSV UTF-8'."
        )
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: the gzip archive is damaged or truncated ({error}).") from error


def _decoded(file: Path, data: bytes) -> str:
    if data.startswith(_BOM_UTF16):  # Excel's "Unicode text"
        return data.decode("utf-16", "replace")
    if b"\x00" in data:
        raise DataError(f"{file} is not a text file: expected CSV or Parquet.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file}, line {row}: not UTF-8 (byte {data[error.start]:#x}). Save it as 'CSV UTF-8', "
            f"or convert it; from Latin-1: iconv -f latin1 -t utf-8 {file} > utf8-{file.name}"
        ) from error


def _read_csv(file: Path, text: str) -> Table:
    records = _records(file, text)
    header = next((record for record in records if any(record)), None)
    if header is None:
        raise DataError(f"{file} is blank: expected a header and a row for each image.")
    names = _column_names(file, header)
    faults = Faults(file)
    rows, cells = [], []
    for number, record in enumerate(records, start=1):
        if record is header or not any(record):
            continue
        if any(record[len(names) :]) or len(record) < len(names):
            faults.add(
                f"{len(record)} cells, but the header has {len(names)}; "
                "a cell with a comma in it needs quotes",
                row=number,
            )
        rows.append(number)
        cells.append(record[: len(names)])
    faults.raise_if_any()
    return _table(file, names, list(zip(*cells, strict=True)), rows)


def _records(file: Path, text: str) -> list[list[str]]:
    """Return every record, blank ones too: they count in a spreadsheet's row numbers."""
    delimiter = _delimiter(text)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    records: list[list[str]] = []
    try:
        records.extend([cell.strip() for cell in record] for record in reader)
    except csv.Error as error:
        raise DataError(
            f"{file}, row {len(records) + 1}: {error}. A quote is opened and not closed, or text "
            "follows a closed one."
        ) from error
    return records


def _delimiter(text: str) -> str:
    """Return what cuts the header into most columns; the comma, if others do no better."""
    head = text.lstrip("\r\n").splitlines()[:1]

    def columns(delimiter: str) -> int:
        return len(next(csv.reader(head, delimiter=delimiter, skipinitialspace=True), []))

    return max(_DELIMITERS, key=columns)


def _read_parquet(file: Path, data: bytes) -> Table:
    import pyarrow as pa  # noqa: PLC0415 - a CSV does without
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        content = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{file}: the Parquet file is damaged or truncated ({reason}).") from error
    # What pandas keeps for itself when it writes an index.
    kept = [at for at, name in enumerate(content.column_names) if not name.startswith("__index_")]
    names = _column_names(file, [content.column_names[at] for at in kept])
    columns = [[_cell_text(value) for value in content.column(at).to_pylist()] for at in kept]
    return _table(file, names, columns, list(range(2, content.num_rows + 2)))


def _cell_text(value: Any) -> str:  # noqa: ANN401 - whatever Parquet holds
    """Return a typed cell as a CSV would show it: 75 for 75.0, 1 for true."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _column_names(file: Path, header: Sequence[str]) -> list[str]:
    """Return the names, blank ones as pandas calls them."""
    names = [name.strip() or f"Unnamed: {at}" for at, name in enumerate(header)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{file}: more than one column is called {quoted(twice)}. Rename them.")
    return names


def _table(
    file: Path, names: list[str], columns: Sequence[Iterable[str]], rows: Sequence[int]
) -> Table:
    if not rows:
        raise DataError(f"{file} has a header but no rows: expected a row for each image.")
    frame = pd.DataFrame(
        {
            name: pd.Series(
                [None if cell.casefold() in _MISSING else cell for cell in cells], dtype=object
            )
            for name, cells in zip(names, columns, strict=True)
        }
    )
    return Table(frame, tuple(rows))
