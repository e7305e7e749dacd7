"""What has to happen with the inputs of `shared/field-cases/csv-*`."""

from __future__ import annotations

import csv
import re
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlearn.data.labels import LabelPolicy, define_task, read_labels
from cxrlearn.data.manifest import read_manifest
from cxrlearn.workflows.datasets import load_sets
from cxrlearn.workflows.probe_config import ProbeConfig
from cxrlearn.workflows.settings import NamedPath
from tests.support.cli import done, refused, run_cli
from tests.support.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

FAST = ("--C", "1", "--floor-columns", "none", "--subgroup", "none")
LABELS = ("--class-columns", "Effusion,Mass")


def _rows(file: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter=delimiter))


def _refused(*args: object) -> str:
    """Return the one line that refuses the input, with exit code 2 or 3 and no traceback."""
    with tempfile.TemporaryDirectory() as cwd:
        outcome = run_cli(*args, cwd=Path(cwd))
        message = refused(outcome.code, *args, cwd=Path(cwd))
    assert outcome.code in {2, 3}, outcome.text
    assert len(message.splitlines()) == 1, message
    return message


def _probe(file: Path, *args: object) -> str:
    """Return what a probe on the file says, having succeeded."""
    with tempfile.TemporaryDirectory() as cwd:
        return done("probe", "-m", "cxr-tiny", "--csv", file, *FAST, *args, cwd=Path(cwd)).text


def _placeholder_patient(folder: Path) -> None:
    for name, word in (("na.csv", "NA"), ("null.csv", "NULL")):
        file = folder / name
        count = sum(row["patient_id"] == word for row in _rows(file))
        message = _refused("probe", "-m", "cxr-tiny", "--csv", file, *LABELS)
        assert f"'{word}' in {count} rows" in message, message
        assert "--patient-column none --split-by-image" in message
        whole = read_manifest(file, name="all")
        assert list(whole.patients).count(None) == count
        listener = Listener()
        load_sets(ProbeConfig(train_csv=file, test_csv=(NamedPath(str(file)),), C=1.0), listener)
        assert any(f"{count} rows without a patient id" in line for line in listener.warnings)


def _other_spelling(folder: Path) -> None:
    train, test = folder / "train.csv", folder / "test_float.csv"
    patients = len({row["patient_id"] for row in _rows(train)})
    with tempfile.TemporaryDirectory() as cwd:
        options = ("probe", "-m", "cxr-tiny", "--train-csv", train, "--test-csv", test, *LABELS)
        said = done(*options, *FAST, cwd=Path(cwd)).err
        assert f"{patients} patient ids of train may be written otherwise in test" in said, said
        assert "'100' and '100.0'" in said
        assert "'100' and '100.0'" in refused(3, *options, "--strict", cwd=Path(cwd))


def _labels_in_words(folder: Path) -> None:
    file = folder / "yesno.csv"
    message = _refused("probe", "-m", "cxr-tiny", "--csv", file, *LABELS)
    assert "--positive 'YES'" in message, message
    manifest = read_manifest(file, name="all")
    task = define_task(manifest, ["Effusion", "Mass"], LabelPolicy(positive="YES"))
    expected = [[row[name] == "YES" for name in task.names] for row in _rows(file)]
    assert read_labels(manifest, task).values.tolist() == expected
    assert "Effusion" in _probe(file, *LABELS, "--positive", "yes")

    file = folder / "joined.csv"
    message = _refused("probe", "-m", "cxr-tiny", "--csv", file, "--class-columns", "finding")
    assert "--label-separator '|'" in message, message
    manifest = read_manifest(file, name="all")
    task = define_task(manifest, ["finding"], LabelPolicy(separator="|"))
    assert task.names == ("Effusion", "Mass")
    expected = [[name in row["finding"].split("|") for name in task.names] for row in _rows(file)]
    assert read_labels(manifest, task).values.tolist() == expected
    assert "Effusion" in _probe(file, "--class-columns", "finding", "--label-separator", "|")


def _no_header(folder: Path) -> None:
    message = _refused("embed", "-m", "cxr-tiny", "--csv", folder / "blanks.txt")
    assert "has no header row" in message, message
    assert "blanks separate its cells" in message
    assert "awk " in message


def _paths_nearly_right(folder: Path) -> None:
    file = folder / "noext.csv"
    with tempfile.TemporaryDirectory() as cwd:
        outcome = run_cli("embed", "-m", "cxr-tiny", "--csv", file, cwd=Path(cwd))
        assert outcome.code == 3
        assert "with the suffix .jpg, which the path lacks" in outcome.err, outcome.err
        assert "film000.jpg" in outcome.err
        offered = re.search(r"--path-suffix \S+", outcome.err)
        assert offered is not None
        mend = shlex.split(offered[0].rstrip("."))
        done("embed", "-m", "cxr-tiny", "--csv", file, *mend, cwd=Path(cwd))


def _patient_in_path(folder: Path) -> None:
    file = folder / "chexpert_like.csv"
    manifest = read_manifest(file, name="all")
    expected = [row["Path"].split("/")[2] for row in _rows(file)]
    assert list(manifest.patients) == expected
    said = _probe(file, *LABELS)
    assert "patients are taken from the paths, such as 'patient00000'" in said, said
    assert "drawn by patient" in said


def _preamble(folder: Path) -> None:
    file = folder / "sep.csv"
    said = _probe(file, *LABELS)
    assert "line 1, 'sep=;', only names the delimiter" in said, said
    lines = file.read_text(encoding="utf-8").splitlines()[1:]
    manifest = read_manifest(file, name="all")
    assert list(manifest.column("Effusion")) == [row.split(";")[4] for row in lines[1:]]
    assert manifest.rows[0] == 3


def _ragged(folder: Path) -> None:
    file = folder / "header_longer.csv"
    with tempfile.TemporaryDirectory() as cwd:
        outcome = done("embed", "-m", "cxr-tiny", "--csv", file, cwd=Path(cwd))
    assert "with fewer cells than the header" in outcome.err, outcome.err


def _placeholder_class(folder: Path) -> None:
    file = folder / "na.csv"
    count = sum(row["finding"] == "NA" for row in _rows(file))
    manifest = read_manifest(file, name="all")
    task = define_task(manifest, ["finding"], LabelPolicy())
    assert "NA" not in task.names
    assert (read_labels(manifest, task).class_index == -1).sum() == count
    assert "column 'finding': 'NA' (" in _probe(file, "--class-columns", "finding")


CHECKS: dict[str, Callable[[Path], None]] = {
    "csv-ids-in-other-spelling": _other_spelling,
    "csv-labels-in-words": _labels_in_words,
    "csv-no-header-lists": _no_header,
    "csv-paths-nearly-right": _paths_nearly_right,
    "csv-patient-in-path": _patient_in_path,
    "csv-placeholder-class": _placeholder_class,
    "csv-placeholder-patient": _placeholder_patient,
    "csv-preamble": _preamble,
    "csv-ragged": _ragged,
}
"""A checker for each folder, by its name; it gets the folder."""
