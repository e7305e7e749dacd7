"""CSV and Parquet files as text, and the sentence for each way in which they can be wrong."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from cxrlearn.data.faults import Faults
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
        (
            b"Path,Edema\na.png,1\nb, c.png,1\nd.png\ne,f,g,1\nh,i,1\n",
            r"train\.csv, rows 3, 6: 3 cells, but the header has 2; a cell that holds the "
            r"delimiter needs quotes\n.*train\.csv, row 5: 4 cells",
        ),
        (b'Path,Edema\n"a.png,1\nb.png,0\n', r"row 2: unexpected end of data\. A quote is opened"),
        (b'Path,Edema\n"a"x.png,1\n', r"row 2: .*text follows a closed one"),
        (
            "Path,Name\na.png,Grün\n".encode("latin-1"),
            r"train\.csv, line 2: not UTF-8 \(byte 0xfc\)\. Save it as 'CSV UTF-8', or convert it; "
            r"from Latin-1: iconv -f latin1 -t utf-8",
        ),
        (b"version https://git-lfs.github.com/spec/v1\n", r"is a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", r"is a web page, not a table"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", r"is an Excel workbook or a zip archive"),
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


def _notices(file: Path) -> str:
    return "\n".join(read_table(file).notices)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sep=;\nPath;Edema\na.png;1\nb.png;0\n", "line 1, 'sep=;', only names the delimiter"),
        ('"sep=;"\nPath;Edema\na.png;1\nb.png;0\n', "only names the delimiter"),
        ("# export of May\n# two rows\nPath,Edema\na.png,1\nb.png,0\n", r"rows 1, 2 before the he"),
        ("\ufeff# by x\n# y, z, a\nPath,Edema\na.png,1\nb.png,0\n", r"rows 1, 2 before the header"),
        ("# path,image\nPath,Edema\na.png,1\nb.png,0\n", r"row 1 before the header left out"),
        ("# cohort\n#Path,Edema\na.png,1\nb.png,0\n", r"row 1 before the header left out"),
        ("Chest study, 2024\n\nPath,Edema,sex\na.png,1,F\nb.png,0,M\n", r"row 1 before the header"),
        ("Chest study;;\nscan;Edema;sex\na.png;1;F\nb.png;0;M\n", r"row 1 before the header left"),
        ("Path,Edema\na.png,1\nPath,Edema\nb.png,0\n", "the header stands again in row 3"),
        (
            "Path,Edema,note\na.png,1\nb.png,0\n",
            r"2 rows with fewer cells than the head",
        ),
        ("Path,Edema,Box [x,y,w,h],,,\na.png,1,1,2,3,4\nb.png,0,5,6,7,8\n", "fewer cells"),
        ("Path Edema\na.png 1\nb.png 0\n", "blanks separate the cells"),
        ("Path   Edema\na.png     1\nb.png     0\n", "blanks separate the cells"),
        ('"Path,Edema"\n"a.png,1"\n"b.png,0"\n', "every line is one quoted cell"),
        ("Path,Edema,a,a\na.png,1,2,2\nb.png,0,3,3\n", "column 'a' is there 2 times, with equal"),
        ("Path,Edema,a,a\na.png,1,2,3\nb.png,0,3,3\n", r"read as 'a \(column 3\)', 'a \(column 4"),
    ],
)
def test_what_exports_add_or_leave_out_is_read_with_a_notice(
    tmp_path: Path, text: str, said: str
) -> None:
    file = _file(tmp_path, text)
    frame = read_table(file).frame

    assert frame.iloc[:, 0].tolist() == ["a.png", "b.png"]
    assert frame["Edema"].tolist() == ["1", "0"]
    assert re.search(said, _notices(file)), _notices(file)


@pytest.mark.parametrize(
    "text",
    [
        "Path,Edema\na.png,1\nb.png,0\n",
        '"Path","Edema"\n"a.png","1"\n"b.png","0"\n',
        "Path,Edema,,\na.png,1,,\nb.png,0,,\n",
        "Path;Edema;age\na.png;1,0;63,5\nb.png;0,0;2,25\n",
        "#Path,Edema\na.png,1\nb.png,0\n",
        "'Path','Edema'\n'a.png','1'\n'b.png','0'\n",
        "\ufeffPath,Edema\na.png,1\nb.png,0\n",
        "Path,Edema\na.png,1\nb.png,0",
    ],
)
def test_plain_files_get_no_notice(tmp_path: Path, text: str) -> None:
    file = _file(tmp_path, text)

    assert read_table(file).frame.iloc[:, 0].tolist() == ["a.png", "b.png"]
    assert _notices(file) == ""


def test_row_numbers_count_the_lines_before_the_header(tmp_path: Path) -> None:
    for text in ("# c\nPath,x\na.png,1\n", "sep=,\nPath,x\na.png,1\n"):
        assert read_table(_file(tmp_path, text)).rows == (3,)


def test_a_list_of_images_needs_no_header(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, "00000001_000.png\n00000001_001.png\n", "list.txt"))

    assert list(table.frame.columns) == ["Path"]
    assert table.frame["Path"].tolist() == ["00000001_000.png", "00000001_001.png"]
    assert table.rows == (1, 2)
    assert "no header row" in table.notices[0]


def test_names_of_images_that_hold_blanks_are_one_column(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, "Path\nmy film 1.png\nmy film 2.png\n"))

    assert table.frame["Path"].tolist() == ["my film 1.png", "my film 2.png"]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("a.png,1,0\nb.png,0,1\n", "Path,label1,label2\na.png,1,0\nb.png,0,1\n"),
        ("a.png 1 0\nb.png 0 1\n", "Path,label1,label2\na.png,1,0\nb.png,0,1\n"),
        ("0,x/a.png\n1,x/b.png\n", "label1,Path\n0,x/a.png\n1,x/b.png\n"),
        ("x/a 1 0\nx/b 0 1\n", "Path,label1,label2\nx/a,1,0\nx/b,0,1\n"),
    ],
)
def test_cells_without_a_header_are_refused_with_a_command_that_makes_a_csv(
    tmp_path: Path, text: str, result: str
) -> None:
    file = _file(tmp_path, text, "list.txt")

    with pytest.raises(DataError) as caught:
        read_table(file)

    message = str(caught.value)
    assert message.startswith(f"{file} has no header row")
    assert "\n" not in message
    command = re.search(r"(\(echo |awk ).*", message)
    assert command is not None
    subprocess.run(["sh", "-c", command[0]], cwd=tmp_path, check=True)  # noqa: S607
    assert (tmp_path / "list-with-header.csv").read_text() == result


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ends in the middle of row 3 \(1 of 2 cells, no line end"):
        read_table(_file(tmp_path, "Path,Edema\na.png,1\nb.pn"))


def test_row_names_as_r_writes_them_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"every row has 3 cells, but the header 2; as R writes"):
        read_table(_file(tmp_path, "Path,Edema\n1,a.png,1\n2,b.png,0\n"))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32", "utf-16", "utf-8-sig"])
def test_encodings_that_can_be_told_are_read(tmp_path: Path, encoding: str) -> None:
    assert _cells(_file(tmp_path, "Path,x\na.png,ü\n".encode(encoding))) == [["a.png", "ü"]]


def test_text_of_two_bytes_a_sign_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is damaged or truncated: it begins as UTF-16 text"):
        read_table(_file(tmp_path, "Path,x\na.png,ü\n".encode("utf-16")[:-1]))


def test_equal_complaints_are_one_line_with_a_count_and_the_first_rows(tmp_path: Path) -> None:
    faults = Faults("train.csv")
    for row in range(2, 47):
        faults.add("is not a label", row=row, column="Mass", value=str(row % 3))
    faults.add("blank", row=7, column="Path")

    with pytest.raises(DataError) as caught:
        faults.raise_if_any()

    assert str(caught.value).splitlines() == [
        "train.csv, rows 2, 3, 4 and 42 more, column 'Mass': '2' is not a label (also '0', '1')",
        "train.csv, row 7, column 'Path': blank",
    ]


def test_many_kinds_of_faults_are_counted_and_twenty_shown() -> None:
    faults = Faults("train.csv")
    for at in range(50):
        faults.add(f"fault {at}")

    with pytest.raises(DataError) as caught:
        faults.raise_if_any()

    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 30 more"
