"""CSV and Parquet files to tables of text, with the row numbers a spreadsheet shows."""

from __future__ import annotations

import gzip
import io
import unicodedata
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from cxrlearn.data.csv_text import read_csv_text
from cxrlearn.data.faults import did_you_mean, quoted
from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MISSING = frozenset({"", "nan", "<na>"})  # how pandas writes what is not there
_BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),  # Excel's "Unicode text"
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True, eq=False)
class Table:
    """The cells of a file."""

    frame: pd.DataFrame
    """Text or None (missing); blanks around a cell are gone; columns and rows in file order."""
    rows: tuple[int, ...]
    """Row number of each row of `frame`; the first line of the file is row 1."""
    notices: tuple[str, ...] = ()
    """How the file was read, where that is not plain."""
    ambiguous: tuple[str, ...] = ()
    """Names that several columns had; each has its number behind its name now."""


def read_table(file: Path) -> Table:
    """Read a CSV (comma, semicolon, tab, bar or blanks; plain or gzip) or Parquet file.

    The content decides what the file is, not its name.

    Raises:
        DataError: missing, empty, not a table, of unknown encoding, without rows, or with rows
            longer than the header.
    """
    data = _unzipped(file, _read_bytes(file))
    if data.startswith(b"PAR1"):
        return _read_parquet(file, data)
    content = read_csv_text(file, _decoded(file, data))
    columns = list(zip(*content.cells, strict=True))
    return _table(file, content.header, columns, content.rows, content.notices)


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
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError(
            f"{file} is an Excel workbook or a zip archive: save the sheet as 'CSV UTF-8'."
        )
    if data.startswith(b"version https://git-lfs"):
        raise DataError(f"{file} is a Git LFS pointer, not the table itself: run git lfs pull.")
    if data[:512].lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise DataError(
            f"{file} is a web page, not a table, such as a server sends instead of a file that "
            "needs a login. Download it again."
        )
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: the gzip archive is damaged or truncated ({error}).") from error


def _decoded(file: Path, data: bytes) -> str:
    for mark, encoding in (*_BOMS, *_unmarked_utf16(data)):
        if data.startswith(mark):
            try:
                return data.decode(encoding).removeprefix("\ufeff")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{file} is damaged or truncated: it begins as {encoding.upper()} text and "
                    f"ends otherwise (byte {error.start:,})."
                ) from error
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


def _unmarked_utf16(data: bytes) -> list[tuple[bytes, str]]:
    """Tell UTF-16 without its mark by its first sign: one of ASCII beside a zero."""
    start = data[:2]
    plain = len(start) == 2 and data[:4].count(b"\x00") == 2
    if plain and start[1] == 0 and start[0] < 128:
        return [(start, "utf-16-le")]
    return [(start, "utf-16-be")] if plain and start[0] == 0 and start[1] < 128 else []


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
    names = [content.column_names[at] for at in kept]
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


def _table(
    file: Path,
    header: Sequence[str],
    columns: Sequence[Sequence[str]],
    rows: Sequence[int],
    notices: Sequence[str] = (),
) -> Table:
    if not rows:
        raise DataError(f"{file} has a header but no rows: expected a row for each image.")
    # Columns without a name are called as pandas calls them.
    names = [
        unicodedata.normalize("NFC", name.strip()) or f"Unnamed: {at}"
        for at, name in enumerate(header)
    ]
    ambiguous, said, left_out = [], list(notices), set()
    for name in [name for name, count in Counter(names).items() if count > 1]:
        places = [at for at, other in enumerate(names) if other == name]
        if all(columns[at] == columns[places[0]] for at in places):
            left_out.update(places[1:])
            said.append(f"column {name!r} is there {len(places)} times, with equal cells.")
            continue
        ambiguous.append(name)
        for at in places:
            names[at] = f"{name} (column {at + 1})"
        renamed = quoted(names[at] for at in places)
        said.append(f"{len(places)} columns are called {name!r}; they are read as {renamed}.")
    frame = pd.DataFrame(
        {
            name: pd.Series(
                [None if cell.casefold() in _MISSING else cell for cell in column], dtype=object
            )
            for at, (name, column) in enumerate(zip(names, columns, strict=True))
            if at not in left_out
        }
    )
    return Table(frame, tuple(rows), tuple(said), tuple(ambiguous))
