"""The text of a CSV file to a header and rows, whatever stands around them.

Exports put lines before the header, leave cells out at the end of rows, or have no header at all.
What has one meaning is read, with a notice; the rest is refused in one line.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.data.columns import PATH_NAMES, is_image_name, plain_name
from cxrlearn.data.faults import Faults, listed_rows
from cxrlearn.errors import DataError
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Records = list[list[str]]

_DELIMITERS = (",", ";", "\t", "|")
_SEP_LINE = re.compile(r'\s*"?sep=(.)"?[;,\t ]*\r?\n', re.IGNORECASE)
_LOOKED_AT = 50  # lines that decide what the delimiter is
_PREAMBLE = 20  # most lines before the header


@dataclass(frozen=True)
class CsvCells:
    """What a CSV file holds."""

    header: list[str]
    """Names of the columns as written."""
    rows: list[int]
    """Row number of each row in a spreadsheet: the first line of the file is row 1."""
    cells: Records
    """Cells of each row, as many as the header has."""
    notices: list[str]
    """How the file was read, where that is not plain."""


def read_csv_text(file: Path, text: str) -> CsvCells:
    """Find the delimiter, the header and the rows.

    Raises:
        DataError: no header, unclosed quotes, or rows longer than the header; one line for each
            kind, with row numbers.
    """
    notices: list[str] = []
    records = _records(file, text.replace("\ufeff", ""), notices)
    filled = [at for at, record in enumerate(records) if any(record)]
    if not filled:
        raise DataError(f"{file} is blank: expected a header and a row for each image.")
    at = _header_at(records, filled)
    if skipped := [number + 1 for number in filled if number < at]:
        shown = " ".join(records[skipped[0] - 1]).strip()[:60]
        notices.append(f"{listed_rows(skipped)} before the header left out ({shown!r}).")
    header = records[at]
    if _is_data(header):
        header, at = _without_header(file, header, notices), at - 1
    below = [number for number in filled if number > at]
    if repeats := [number + 1 for number in below if records[number] == header]:
        notices.append(f"the header stands again in {listed_rows(repeats)}; left out.")
    below = [number for number in below if records[number] != header]
    ends_whole = text.endswith(("\n", "\r"))
    cells = _rectangular(file, header, records, below, notices, ends_whole=ends_whole)
    return CsvCells(header, [number + 1 for number in below], cells, notices)


def _records(file: Path, text: str, notices: list[str]) -> Records:
    """Return every record, blank ones too: they count in a spreadsheet's row numbers."""
    sep = _SEP_LINE.match(text)
    if sep is not None:
        notices.append(f"line 1, {sep[0].strip()!r}, only names the delimiter.")
        # Its line stays, blank, so that row numbers are those of a spreadsheet.
        return _parsed(file, "\n" + text[sep.end() :], sep[1])
    delimiter = _delimiter(text)
    records = _parsed(file, text, delimiter)
    if any(len(record) > 1 for record in records):
        header = next((record for record in records if any(record)), [""])
        if all(len(name) > 2 and name[0] == name[-1] == "'" for name in header):
            return _parsed(file, text, delimiter, quote="'")
        return records
    lines = [record[0] if record else "" for record in records]
    unquoted = _delimiter("\n".join(lines))
    if lines and all(unquoted in line for line in lines if line):
        notices.append("every line is one quoted cell; the quotes are left out.")
        return _parsed(file, "\n".join(lines), unquoted)
    return _by_blanks(file, lines, notices) or records


def _parsed(file: Path, text: str, delimiter: str, *, quote: str = '"') -> Records:
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quotechar=quote,
        skipinitialspace=True,
        strict=True,
    )
    records: Records = []
    try:
        records.extend([cell.strip() for cell in record] for record in reader)
    except csv.Error as error:
        raise DataError(
            f"{file}, row {len(records) + 1}: {error}. A quote is opened and not closed, or text "
            "follows a closed one."
        ) from error
    return records


def _delimiter(text: str) -> str:
    """Return what cuts most lines into equally many cells, or else the header into most."""
    lines = [line for line in text[: 1 << 20].splitlines() if line.strip()][:_LOOKED_AT]

    def widths(delimiter: str) -> list[int]:
        return [
            len(next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), []))
            for line in lines
        ]

    def fit(delimiter: str) -> tuple[float, int, int]:
        found = widths(delimiter)
        width, times = max(Counter(found).items(), key=lambda item: (item[1], item[0]))
        return (times if width > 1 else 0, width, found[0])

    return max(_DELIMITERS, key=fit) if lines else ","


def _by_blanks(file: Path, lines: Sequence[str], notices: list[str]) -> Records | None:
    """Cut lines of one cell at their blanks, if that gives equally many cells in every line."""
    records = [line.split() for line in lines]
    filled = [record for record in records if record]
    widths = {len(record) for record in filled}
    if len(widths) != 1 or widths == {1}:
        return None
    last = filled[-1]
    if is_image_name(last[-1]) and not any(map(is_image_name, last[:-1])):
        return None  # a file name that holds blanks
    if _is_data(filled[0]):
        names = ",".join(_made_up_names(filled[0]))
        raise DataError(
            f"{file} has no header row (row 1 names an image, {filled[0][0]!r}), and blanks "
            f'separate its cells. To make a CSV of it: awk \'BEGIN {{print "{names}"}} '
            f"{{$1=$1; print}}' OFS=, {file} > {file.stem}-with-header.csv"
        )
    notices.append("blanks separate the cells.")
    return records


def _header_at(records: Records, filled: Sequence[int]) -> int:
    """Return which record is the header: the first, but for comments and titles before it."""
    start = 0
    while start < len(filled) - 1 and records[filled[start]][0].startswith("#"):
        start += 1
    if start and _is_commented_header(records[filled[start - 1]], records[filled[start]]):
        return filled[start - 1]
    first = filled[start : start + _PREAMBLE]
    sizes = [sum(map(bool, records[number])) for number in first]
    usual = max(sum(map(bool, records[number])) for number in filled[start : start + _LOOKED_AT])
    for place, number in enumerate(first):
        known = _names_paths(records[number]) and not _is_data(records[number])
        if known and (sizes[place] > 1 or usual == 1):
            # What is as wide as this row belongs to the table, so the header is before it.
            return number if max([0, *sizes[:place]]) < sizes[place] else first[0]
    for place, number in enumerate(first[:-1]):
        title = bool(records[number][0]) and sizes[place] == 1 < sizes[place + 1]
        if not title or _is_data(records[first[place + 1]]):
            return number
    return first[-1]


def _is_commented_header(comment: Sequence[str], below: Sequence[str]) -> bool:
    """Tell whether a header is written as a comment, `#Path,Edema`, before a row of data."""
    if _names_paths(below):
        return False
    return _is_data(below) or (_names_paths(comment) and len(comment) == len(below))


def _names_paths(record: Sequence[str]) -> bool:
    return any(plain_name(cell) in PATH_NAMES for cell in record)


def _is_data(record: Sequence[str]) -> bool:
    """Tell whether a record cannot be a header: it names an image file."""
    if any(map(is_image_name, record)):
        return True
    paths = any("/" in cell or "\\" in cell for cell in record)
    labels = {"0", "1", "00", "10"} & {plain_name(cell) for cell in record}
    return paths and bool(labels) and not _names_paths(record)


def _without_header(file: Path, record: Sequence[str], notices: list[str]) -> list[str]:
    """Name the only column of a list of images; refuse columns that nobody can name."""
    if len(record) == 1:
        notices.append("no header row: its only column is taken for the image paths.")
        return ["Path"]
    shown = next((cell for cell in record if is_image_name(cell)), record[0])
    names = ",".join(_made_up_names(record))
    raise DataError(
        f"{file} has no header row: row 1 names an image, {shown!r}. Put the names of the columns "
        f"in front: (echo {names}; cat {file}) > {file.stem}-with-header.csv"
    )


def _made_up_names(record: Sequence[str]) -> list[str]:
    paths = [at for at, cell in enumerate(record) if is_image_name(cell) or "/" in cell] or [0]
    others = iter(range(1, len(record) + 1))
    return ["Path" if at == paths[0] else f"label{next(others)}" for at in range(len(record))]


def _rectangular(
    file: Path,
    header: Sequence[str],
    records: Records,
    below: Sequence[int],
    notices: list[str],
    *,
    ends_whole: bool,
) -> Records:
    """Give every row as many cells as the header: blanks at the end come and go."""
    width = len(header)
    longer = [number for number in below if any(records[number][width:])]
    shorter = [number for number in below if len(records[number]) < width]
    row_names = not any(is_image_name(records[number][0]) for number in longer)
    if longer == list(below) and row_names and {len(records[at]) for at in longer} == {width + 1}:
        raise DataError(
            f"{file}: every row has {width + 1} cells, but the header {width}; as R writes row "
            "names. Give the first column a name."
        )
    faults = Faults(file)
    for number in longer:
        faults.add(
            f"{len(records[number])} cells, but the header has {width}; "
            "a cell that holds the delimiter needs quotes",
            row=number + 1,
        )
    faults.raise_if_any()
    if shorter == below[-1:] and len(below) > 1 and not ends_whole:
        raise DataError(
            f"{file} ends in the middle of row {below[-1] + 1} ({len(records[below[-1]])} of "
            f"{width} cells, no line end): the file is cut off. Copy it again."
        )
    if shorter:
        notices.append(
            f"{counted(len(shorter), 'row')} with fewer cells than the header "
            f"({listed_rows([number + 1 for number in shorter])}): the last cells count as blank."
        )
    return [
        record if len(record) == width else (record + [""] * width)[:width]
        for record in map(records.__getitem__, below)
    ]
