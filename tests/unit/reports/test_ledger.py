"""runs/ledger.csv: whole rows only, whoever writes at once and whoever is killed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cxrlearn.errors import DataError
from cxrlearn.reports.ledger import COLUMNS, MACRO, append_ledger, ledger_rows
from tests.support.run_reports import NAMES, full_report, sample_predictions

if TYPE_CHECKING:
    from pathlib import Path

    from cxrlearn.reports.schema import RunReport

WRITER = """
import sys
from pathlib import Path
from cxrlearn.reports.ledger import append_ledger
path, name, batches = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
cell = {"run": name, "set": "test, \\"ä\\"", "metric": "auroc", "value": "0.5"}
for batch in range(batches):
    append_ledger(path, [cell | {"label": str(10 * batch + i)} for i in range(10)])
heavy = {"numpy", "torch", "pandas", "scipy", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
KILLED_WITHIN_A_WRITE = """
import resource, signal, sys
from pathlib import Path
from cxrlearn.reports.ledger import append_ledger
path = Path(sys.argv[1])
row = {"run": "killed", "set": "test", "label": "A", "metric": "auroc", "value": "0.123456789"}
# The system itself ends the process once the file has 60 more bytes: in the second row.
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
limit = path.stat().st_size + 60
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
append_ledger(path, [row, row, row])
"""
ROW = {"run": "a", "set": "test", "label": "A", "metric": "auroc", "value": "0.5"}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def start(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)])


@pytest.mark.slow
def test_eight_writers_at_once_lose_nothing_while_a_ninth_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    victim = start(WRITER, path, "victim", 10_000)
    writers = [start(WRITER, path, f"writer {number}", 20) for number in range(8)]
    while not path.exists() or "victim" not in path.read_text(encoding="utf-8"):
        assert victim.poll() is None
        time.sleep(0.01)
    victim.kill()
    assert victim.wait() == -signal.SIGKILL
    assert [writer.wait() for writer in writers] == [0] * 8
    append_ledger(path, [ROW | {"run": "last"}])
    rows = rows_of(path)
    assert all(None not in row and None not in row.values() for row in rows)
    for number in range(8):
        mine = [row["label"] for row in rows if row["run"] == f"writer {number}"]
        assert mine == [str(i) for i in range(200)]
    killed = [row["label"] for row in rows if row["run"] == "victim"]
    assert killed == [str(i) for i in range(len(killed))]
    assert rows[-1]["run"] == "last"
    assert path.read_text(encoding="utf-8").count("run,set") == 1


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX's")
def test_half_a_line_of_a_killed_writer_is_set_aside_and_the_next_row_starts_a_line(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.csv"
    append_ledger(path, [ROW])
    assert start(KILLED_WITHIN_A_WRITE, path).wait() == -signal.SIGXFSZ
    torn = path.read_text().splitlines()[-1]
    assert not path.read_bytes().endswith(b"\n")
    append_ledger(path, [ROW | {"run": "next"}])
    rows = rows_of(path)
    assert [row["run"] for row in rows] == ["a", "killed", "next"]
    assert path.with_name("ledger.csv.torn").read_text() == torn + "\n"
    assert rows[-1] == ROW | {"run": "next"}


def test_half_a_header_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    path.write_text("run,set,la")
    append_ledger(path, [ROW])
    assert rows_of(path) == [ROW]


def test_ledger_of_an_older_version_gets_the_new_columns_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    append_ledger(path, [ROW])
    append_ledger(path, [{"seed": "3", **ROW, "low": "0.4"}])
    assert path.read_text().splitlines()[0] == "run,set,label,metric,value,seed,low"
    assert rows_of(path) == [ROW | {"seed": "", "low": ""}, ROW | {"seed": "3", "low": "0.4"}]


def test_ledger_of_a_newer_version_keeps_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    append_ledger(path, [{"later": "x", **ROW}])
    append_ledger(path, [ROW])
    assert rows_of(path) == [{"later": "x", **ROW}, {"later": "", **ROW}]


@pytest.mark.parametrize("content", [b"my,own,table\n1,2,3\n", b"\n", b"\xff\xfe\n"])
def test_another_file_of_that_name_is_refused_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "ledger.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a ledger of cxrlearn .* Rename it"):
        append_ledger(path, [ROW])
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["a\nb", "a\r\nb", 'q"uo,te', "\u2028", "=1+1"])
def test_every_row_is_one_line_whatever_the_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "ledger.csv"
    append_ledger(path, [ROW | {"label": name}, ROW])
    assert path.read_bytes().count(b"\n") == 3
    assert rows_of(path)[0]["label"] == " ".join(name.splitlines())


@pytest.fixture(scope="module")
def report() -> RunReport:
    return full_report({"test": sample_predictions(), "ext,1": sample_predictions(1)})


def test_a_run_gives_a_row_for_each_set_and_label_and_for_the_macro(report: RunReport) -> None:
    made = {"created": "2026-01-02T03:04:05+00:00", "versions": {"cxrlearn": "1.2"}}
    rows = ledger_rows(report, made, "ef" * 32)
    assert [(row["set"], row["label"]) for row in rows] == [
        (name, label) for name in ("test", "ext,1") for label in (*NAMES, MACRO)
    ]
    assert all(tuple(row) == COLUMNS for row in rows)
    first, third, macro = rows[0], rows[2], rows[6]
    label = report.results[0].evaluation.labels[0]
    assert json.loads(first["value"]) == label.auroc.value
    assert (first["positives"], first["patients"]) == (str(label.positives), "60")
    assert (first["time"], first["cxrlearn"]) == ("2026-01-02T03:04:05+00:00", "1.2")
    assert third["value"] == third["low"] == ""
    assert "no positives among" in third["caution"]
    assert macro["positives"] == ""
    assert json.loads(macro["high"]) == report.results[0].evaluation.macro.high


def test_rows_that_do_not_speak_for_the_backbone_say_so(report: RunReport) -> None:
    backbone = replace(report.backbone, random_weights=3)
    rows = ledger_rows(replace(report, backbone=backbone, null_control=True), {}, "")
    for row in rows:
        assert row["caution"].startswith("label-permutation control; random weights, seed 3")
    seen = [row["set"] for row in rows if "pretraining may hold this set: NIH" in row["caution"]]
    assert seen == ["test"] * 7
