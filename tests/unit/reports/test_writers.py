"""The folder of a run: made, whole, the same twice, and swept when its sets change."""

from __future__ import annotations

import base64
import csv
import errno
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cxrlearn.errors import DataError, DiskError
from cxrlearn.reports.document import read_report
from cxrlearn.reports.predictions import (
    Predictions,
    predictions_file,
    read_predictions,
    set_file,
)
from cxrlearn.reports.run_files import check_run_files
from cxrlearn.reports.writers import write_run
from cxrlearn.runtime.atomic import disk_errors, hook_write_steps
from tests.support.bit_flips import flip_bits
from tests.support.run_reports import (
    NAMES,
    evaluate_predictions,
    full_report,
    sample_predictions,
    sample_report,
    sample_training,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = {
    "report.json",
    "table.csv",
    "metrics.csv",
    "table.md",
    "settings.toml",
    "provenance.json",
    "report.html",
}


@pytest.fixture(scope="module")
def sets() -> dict[str, Predictions]:
    return {"test": sample_predictions(), "ext/1": sample_predictions(1)}


def _run(folder: Path, sets: dict[str, Predictions], host: str = "here") -> None:
    settings, made = "[probe]\nseed = 0\n", {"host": host}
    write_run(folder, sample_report(sets), sets, settings, made, figures=False)


def test_original_defect_s13_results_folder_is_made(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    folder = tmp_path / "runs" / "deep" / "first"
    written = write_run(folder, full_report(sets), sets, "", {"host": "here"})
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in written}
    figures = {
        set_file(kind, name, form)
        for kind in ("roc", "pr", "calibration", "curve")
        for name in sets
        for form in ("png", "svg")
    }
    assert names == FILES | {"curve.csv"} | figures | {predictions_file(name) for name in sets}
    plain = replace(full_report(sets), curve=())
    assert folder / "curve.csv" not in write_run(folder, plain, sets, "", {"host": "here"})
    assert not (folder / "curve.csv").exists()


def test_same_run_gives_the_same_bytes_but_for_provenance(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    for name, host in (("a", "one"), ("b", "two")):
        write_run(tmp_path / name, full_report(sets), sets, "", {"host": host})
    volatile = {"report.json", "provenance.json", "report.html"}
    for path in (tmp_path / "a").iterdir():
        other = (tmp_path / "b" / path.name).read_bytes()
        assert (path.read_bytes() == other) == (path.name not in volatile)
    reports = [read_report(tmp_path / name) for name in "ab"]
    assert [report.pop("provenance")["host"] for report in reports] == ["one", "two"]
    assert reports[0] == reports[1]


def test_provenance_stands_in_the_report_and_beside_it(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    _run(tmp_path, sets)
    alone = json.loads((tmp_path / "provenance.json").read_text())
    listed = read_report(tmp_path)["provenance"]
    assert alone == {"host": "here"}
    assert {key: listed[key] for key in listed.keys() - {"files", "report_sha256"}} == alone


def test_report_names_the_bytes_of_its_predictions_and_can_be_recomputed_from_them(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    _run(tmp_path, sets)
    for result in read_report(tmp_path)["results"]:
        path = tmp_path / result["predictions"]["file"]
        digest = result["predictions"]["sha256"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
        again = evaluate_predictions(read_predictions(path, sha256=digest))
        found = result["evaluation"]
        assert found["macro"]["value"] == again.macro.value
        assert [found["macro"]["low"], found["macro"]["high"]] == [
            again.macro.low,
            again.macro.high,
        ]
        for label, computed in zip(found["labels"], again.labels, strict=True):
            assert label["auroc"]["value"] == computed.auroc.value
            assert label["auroc"]["low"] == computed.auroc.low
            assert label["positives"] == computed.positives


def test_awkward_label_names_stand_in_every_file(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    _run(tmp_path, sets)
    assert tuple(read_report(tmp_path)["task"]["labels"]) == NAMES
    assert read_predictions(tmp_path / "predictions-test.csv").names == NAMES


@pytest.mark.parametrize("positive", [0, 1, None], ids=["no positives", "no negatives", "both"])
def test_set_of_three_images_of_one_patient_is_written_whole(
    tmp_path: Path, positive: int | None
) -> None:
    tiny = sample_predictions(rows=3)
    if positive is not None:
        tiny = replace(tiny, values=np.where(tiny.known, positive, 0).astype(np.int8))
    report = sample_report({"test": tiny})
    result = replace(report.results[0], evaluation=evaluate_predictions(tiny))
    write_run(tmp_path / "run", replace(report, results=(result,)), {"test": tiny}, "", {})
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    found = read_report(tmp_path / "run")["results"][0]["evaluation"]
    for label in found["labels"]:
        assert label["auroc"]["reason"] is not None
        assert label["auroc"]["reason"] in page
    if positive is not None:
        assert found["macro"]["value"] is None
    assert (tmp_path / "run" / "roc-test.png").stat().st_size > 1000


def test_predictions_of_a_set_that_is_gone_are_removed_and_other_files_stay(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    _run(tmp_path, sets)
    (tmp_path / "predictions-mine.csv").write_text("kept")
    only = {"test": sets["test"]}
    _run(tmp_path, only)
    names = {path.name for path in tmp_path.glob("predictions-*.csv")}
    assert names == {"predictions-test.csv", "predictions-mine.csv"}


def test_figures_of_a_set_that_is_gone_are_removed(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    write_run(tmp_path / "run", full_report(sets), sets, "", {})
    (tmp_path / "run" / "roc-mine.png").write_text("kept")
    only = {"test": sets["test"]}
    write_run(tmp_path / "run", sample_report(only), only, "", {})
    left = {path.name for path in (tmp_path / "run").iterdir() if path.suffix in {".png", ".svg"}}
    assert left == {"roc-test.png", "roc-test.svg", "pr-test.png", "pr-test.svg", "roc-mine.png"}
    _run(tmp_path / "run", only)
    left = {path.name for path in (tmp_path / "run").iterdir() if path.suffix in {".png", ".svg"}}
    assert left == {"roc-mine.png"}


def test_ledger_beside_the_folder_gets_the_rows_of_the_report_on_disk(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    _run(tmp_path / "a", sets, host="one")
    _run(tmp_path / "b", sets, host="two")
    with (tmp_path / "ledger.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(sets) * (len(NAMES) + 1)
    digests = [
        hashlib.sha256((tmp_path / name / "report.json").read_bytes()).hexdigest() for name in "ab"
    ]
    assert list(dict.fromkeys(row["report_sha256"] for row in rows)) == digests


def test_run_is_whole_where_the_ledger_is_another_file(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    (tmp_path / "ledger.csv").write_text("mine\n")
    with pytest.raises(DataError, match=r"not a ledger .* The run itself is complete"):
        _run(tmp_path / "a", sets)
    assert read_report(tmp_path / "a")["name"] == "first run"


def test_damaged_report_of_before_does_not_stop_a_new_one(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    (tmp_path / "report.json").write_text("{")
    _run(tmp_path, sets)
    assert read_report(tmp_path)["name"] == "first run"


def test_sets_and_predictions_must_be_the_same(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    with pytest.raises(ValueError, match="results are of"):
        write_run(tmp_path / "x", sample_report(sets), {"test": sets["test"]}, "", {})
    assert not (tmp_path / "x").exists()


class Crash(BaseException):
    """A process that dies here."""


@pytest.fixture
def steps() -> Iterator[list[str]]:
    seen: list[str] = []
    hook_write_steps(seen.append)
    yield seen
    hook_write_steps(None)


def test_a_crash_at_any_step_leaves_the_old_run_or_the_new_one(
    tmp_path: Path, sets: dict[str, Predictions], steps: list[str]
) -> None:
    folder = tmp_path / "runs" / "a"
    _run(folder, sets, host="old")
    hook_write_steps(None)
    (folder / "notes.txt").write_text("mine")
    for step in dict.fromkeys(steps):
        host = read_report(folder)["provenance"]["host"]
        new = f"new at {step}"

        def crash(name: str, at: str = step) -> None:
            if name == at:
                raise Crash

        hook_write_steps(crash)
        with pytest.raises(Crash):
            _run(folder, sets, host=new)
        hook_write_steps(None)
        document = read_report(folder)
        check_run_files(folder, document)
        done = step in {"run.swapped", "run.removed", "ledger.written"}
        if step.startswith("run.") and not done:
            assert document["provenance"]["host"] == host
        assert json.loads((folder / "provenance.json").read_text()) == {
            "host": document["provenance"]["host"]
        }
        assert (folder / "notes.txt").read_text() == "mine"
    _run(folder, sets, host="last")
    assert {path.name for path in folder.parent.iterdir() if path.is_dir()} == {"a"}


def test_every_file_is_listed_with_its_hash(tmp_path: Path, sets: dict[str, Predictions]) -> None:
    def more(folder: Path) -> None:
        (folder / "probe.json").write_text("{}")

    folder = tmp_path / "a"
    write_run(folder, sample_report(sets), sets, "", {}, figures=False, more=more)
    listed = read_report(folder)["provenance"]["files"]
    assert listed == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "report.json"
    }
    assert "probe.json" in listed


def test_files_of_two_runs_are_told_apart(tmp_path: Path, sets: dict[str, Predictions]) -> None:
    for name in "ab":
        _run(tmp_path / name, sets, host=name)
    check_run_files(tmp_path / "a", read_report(tmp_path / "a"))
    for name in ("report.html", "provenance.json"):
        (tmp_path / "a" / name).write_bytes((tmp_path / "b" / name).read_bytes())
        with pytest.raises(DataError, match=f"{name} is not the file its report was made with"):
            check_run_files(tmp_path / "a", read_report(tmp_path / "a"))
        _run(tmp_path / "a", sets, host="a")


def test_a_flipped_bit_of_a_report_is_refused(tmp_path: Path, sets: dict[str, Predictions]) -> None:
    _run(tmp_path / "a", sets)

    def read() -> object:
        document = read_report(tmp_path / "a")
        check_run_files(tmp_path / "a", document)
        document["provenance"] = None  # says nothing of the results
        return document

    found = flip_bits(tmp_path / "a" / "report.json", read, DataError, count=300)
    assert (found.silent, found.wrong) == ([], [])


def test_what_the_run_did_not_write_is_carried_over(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    folder = tmp_path / "a"
    _run(folder, sets)
    (folder / "notes").mkdir()
    (folder / "notes" / "today.md").write_text("mine")
    (folder / "roc-mine.png").write_bytes(b"mine")
    (folder / "table.md").write_text("with my remarks")
    _run(folder, {"test": sets["test"]})
    assert (folder / "notes" / "today.md").read_text() == "mine"
    assert (folder / "roc-mine.png").read_bytes() == b"mine"
    assert (folder / "table.kept.md").read_text() == "with my remarks"
    assert (folder / "table.md").read_text() != "with my remarks"
    check_run_files(folder, read_report(folder))
    assert not (folder / "predictions-ext-1-").exists()
    assert len(list(folder.glob("predictions-*.csv"))) == 1


def test_files_that_were_there_before_any_run_are_kept(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    mine = ("split.csv", "settings.toml", "history.csv", "roc-mine.png", "report.json")
    for name in mine:
        (folder / name).write_text("mine")
    _run(folder, sets)
    for name in mine:
        kept = folder / name
        if name in {"settings.toml", "report.json"}:
            kept = kept.with_name(f"{kept.stem}.kept{kept.suffix}")
        assert kept.read_text() == "mine"
    check_run_files(folder, read_report(folder))


def test_a_full_disk_leaves_the_old_run(
    tmp_path: Path, sets: dict[str, Predictions], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "a"
    _run(folder, sets, host="old")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(folder: Path) -> None:
        with disk_errors(folder / "probe.json", "What was there before is untouched."):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskError) as caught:
        write_run(folder, sample_report(sets), sets, "", {}, figures=False, more=full)
    assert f"cannot write {folder}/probe.json: no space left. What was" in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["a"]


def test_a_finetuned_run_has_its_learning_curves(
    tmp_path: Path, sets: dict[str, Predictions]
) -> None:
    trained = replace(sample_report(sets), command="finetune", finetune=sample_training())
    write_run(tmp_path / "run", trained, sets, "", {"host": "here"})
    assert (tmp_path / "run/learning.png").read_bytes().startswith(b"\x89PNG")
    drawn = base64.b64encode((tmp_path / "run/learning.svg").read_bytes()).decode()
    assert drawn in (tmp_path / "run/report.html").read_text(encoding="utf-8")
    document = json.loads((tmp_path / "run/report.json").read_text(encoding="utf-8"))
    assert document["finetune"]["history"][1]["validation_loss"] == 0.6
