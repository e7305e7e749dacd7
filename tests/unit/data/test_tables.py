"""CSV and Parquet files as text, and the sentence for each way in which they can be wrong."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from cxrlearn.data.tables import read_table
from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def _file(folder: Path, content: str | bytes, name: str = "train.csv") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def _cells(file: Path) -> list[list[str | None]]:
    return [list(row) for row in read_table(file).frame.itertuples(index=False)]


def test_cells_are_text_and_blank_ones_none(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, "Path,Edema,id\na.png,,00012\n b.png , 1 ,NaN\n"))

    assert list(table.frame.columns) == ["Path", "Edema", "id"]
    assert table.frame.to_numpy().tolist() == [["a.png", None, "00012"], ["b.png", "1", None]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_spreadsheets_write_is_read(
    tmp_path: Path, delimiter: str, encoding: str, newline: str
) -> None:
    text = newline.join(["Path,Größe", "röntgen.png,1", "胸部.png,0"]).replace(",", delimiter)

    cells = _cells(_file(tmp_path, text.encode(encoding)))

    assert cells == [["röntgen.png", "1"], ["胸部.png", "0"]]


def test_quotes_hold_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, 'Path,note\n"a, b.png","says ""no""\nand on"\nc.png,x\n'))

    assert table.frame.to_numpy().tolist() == [
        ["a, b.png", 'says "no"\nand on'],
        ["c.png", "x"],
    ]
    assert table.rows == (2, 3)  # as a spreadsheet numbers them, not as lines


def test_blank_rows_are_skipped_and_still_count(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, "\nPath,Edema\n\na.png,1\n,\nb.png,0,,\n\n"))

    assert table.frame["Path"].tolist() == ["a.png", "b.png"]
    assert table.rows == (4, 6)


def test_a_column_without_a_name_gets_the_one_pandas_gives(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, ",Path,\n0,a.png,\n1,b.png,\n"))

    assert list(table.frame.columns) == ["Unnamed: 0", "Path", "Unnamed: 2"]


def test_gzip_is_known_by_content(tmp_path: Path) -> None:
    file = _file(tmp_path, gzip.compress(b"Path\na.png\n"), "train.csv")

    assert _cells(file) == [["a.png"]]


def test_parquet_cells_read_as_a_csv_would_show_them(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "Path": ["a.png", "b.png", "c.png"],
            "Edema": [1.0, float("nan"), -1.0],
            "seen": [True, False, None],
            "patient": pd.array([75, None, 12], dtype="Int64"),
            "view": pd.Categorical(["PA", None, "AP"]),
            "age": [61.5, 2.0, 3.25],
        },
        index=pd.Index([7, 8, 9], name="kept_out"),
    )
    file = tmp_path / "train.parquet"
    frame.reset_index(drop=True).to_parquet(file)

    table = read_table(file)

    assert list(table.frame.columns) == list(frame.columns)
    assert table.frame.to_numpy().tolist() == [
        ["a.png", "1", "1", "75", "PA", "61.5"],
        ["b.png", None, "0", None, None, "2"],
        ["c.png", "-1", None, "12", "AP", "3.25"],
    ]
    assert table.rows == (2, 3, 4)


def test_parquet_under_the_name_of_a_csv_is_read_as_parquet(tmp_path: Path) -> None:
    pd.DataFrame({"Path": ["a.png"]}).to_parquet(tmp_path / "x.parquet")
    file = (tmp_path / "x.parquet").rename(tmp_path / "train.csv")

    assert _cells(file) == [["a.png"]]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"train\.csv is empty \(0 bytes\): expected a header and a row for each image\."),
        (b"\n \n,,\n", r"train\.csv is blank: expected a header"),
        (b"Path,Edema\n", r"train\.csv has a header but no rows: expected a row for each image\."),
        (b"Path,Edema,Path\na,1,b\n", r"more than one column is called 'Path'\. Rename them\."),
        (
            b"Path,Edema\na.png,1\nb, c.png,1\nd.png\n",
            r"train\.csv, row 3: 3 cells, but the header has 2; a cell with a comma in it needs "
            r"quotes\n.*train\.csv, row 4: 1 cells",
        ),
        (b'Path,Edema\n"a.png,1\nb.png,0\n', r"row 2: unexpected end of data\. A quote is opened"),
        (b'Path,Edema\n"a"x.png,1\n', r"row 2: .*text follows a closed one"),
        (
            "Path,Name\na.png,Grün\n".encode("latin-1"),
            r"train\.csv, line 2: not UTF-8 \(byte 0xfc\)\. Save it as 'CSV UTF-8', or convert it; "
            r"from Latin-1: iconv -f latin1 -t utf-8",
        ),
        (b"PK\x03\x04xl/workbook", r"is an Excel workbook or a zip archive: save the sheet as"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", r"is not a text file: expected CSV or Parquet"),
        (gzip.compress(b"Path\na.png\n" * 99)[:-9], r"the gzip archive is damaged or truncated"),
        (b"PAR1 and no more", r"the Parquet file is damaged or truncated"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_table(_file(tmp_path, content))


def test_missing_files_are_named_with_their_neighbour(tmp_path: Path) -> None:
    _file(tmp_path, "Path\na.png\n")

    with pytest.raises(DataError, match=r"trian\.csv: no such file in .*Did you mean 'train\.csv'"):
        read_table(tmp_path / "trian.csv")
    with pytest.raises(DataError, match=r"the folder .*nowhere does not exist"):
        read_table(tmp_path / "nowhere" / "train.csv")


def test_a_folder_given_as_csv_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder, not a CSV file\..*--images"):
        read_table(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    file = _file(tmp_path, "Path\na.png\n")
    file.chmod(0)

    with pytest.raises(DataError, match=r"train\.csv: cannot be read: Permission denied\."):
        read_table(file)


def test_many_faults_are_counted_and_twenty_shown(tmp_path: Path) -> None:
    file = _file(tmp_path, "Path,Edema\n" + "a.png\n" * 50)

    with pytest.raises(DataError) as caught:
        read_table(file)

    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[0].startswith(f"{file}, row 2: 1 cells")
    assert lines[-1] == "and 30 more"
