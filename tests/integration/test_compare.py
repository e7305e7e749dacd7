"""`cxrlearn compare` on finished runs."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cxrlearn.cli import compare  # noqa: F401 - registers itself
from cxrlearn.evaluation.differences import paired_macro_difference
from cxrlearn.reports.findings import MISSING
from cxrlearn.reports.schema import PretrainingReport
from tests.support.cli import done, refused, run_cli
from tests.support.compared_runs import LABELS, scored, subset, write_compared
from tests.support.run_edits import edit_report
from tests.support.small_study import embedded_study

if TYPE_CHECKING:
    from pathlib import Path

    from cxrlearn.reports.predictions import Predictions

QUICK = ("--quiet",)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs on one test set: good, its twin, and a weak one."""
    for name, strength, seed in (("good", 1.6, 1), ("twin", 1.6, 2), ("weak", 0.2, 3)):
        write_compared(tmp_path / "runs" / name, {"test": scored(strength, seed=seed)})
    return tmp_path


def compared(cwd: Path, *args: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done("compare", "--json", *QUICK, *args, cwd=cwd).out)
    return found


def add(cwd: Path, name: str, rows: Predictions, set_name: str = "test", **changes: Any) -> None:  # noqa: ANN401
    write_compared(cwd / "runs" / name, {set_name: rows}, **changes)


# ---- what is compared ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_probe_is_compared_with_its_copy(tmp_path: Path) -> None:
    study = embedded_study(tmp_path / "study")
    done("probe", "--quiet", "--name", "mine", cwd=study.folder)
    shutil.copytree(study.folder / "runs" / "mine", study.folder / "runs" / "copy")
    report = json.loads((study.folder / "runs" / "mine" / "report.json").read_text())
    macro = report["results"][0]["evaluation"]["macro"]
    outcome = done("compare", "--labels", *QUICK, cwd=study.folder)
    assert outcome.out.count(f"{macro['value']:.3f} [{macro['low']:.3f}, {macro['high']:.3f}]") == 2
    assert "Cardiomegaly" in outcome.out
    assert "no test: the difference never varies" in outcome.out


def test_best_is_bold_and_what_is_like_it_has_a_dagger(runs: Path) -> None:
    found = compared(runs)
    assert [run["name"] for run in found["runs"]] == ["good", "twin", "weak"]
    macro = found["sets"][0]["macro"]
    assert {macro["best"], *macro["like_best"]} == {"good", "twin"}
    table = done("compare", "--format", "markdown", *QUICK, cwd=runs).out
    row = next(line for line in table.splitlines() if line.startswith("| test |"))
    name, *cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert name == "test"
    assert [cell.startswith("**") for cell in cells].count(True) == 1
    assert [cell.endswith("†") for cell in cells].count(True) == 1
    assert "†" not in cells[2]
    assert cells[3] == "160"
    assert "† Not distinguishable" in table


def test_tests_are_those_of_leaving_patients_out_of_both_runs(runs: Path) -> None:
    pair = compared(runs, "good", "weak")["sets"][0]["comparison"]["pairs"][0]
    good, weak = scored(1.6, seed=1), scored(0.2, seed=3)
    expected = paired_macro_difference(
        good.values, good.known, good.logits, weak.logits, good.patient_ids, names=LABELS,
        image_ids=good.image_ids,
    )  # fmt: skip
    for key in ("difference", "low", "high", "standard_error", "p_value"):
        assert pair["macro"][key] == getattr(expected, key)
    assert pair["adjusted_p"] == expected.p_value


def test_counts_and_minimum_detectable_differences_stand_beside_the_numbers(runs: Path) -> None:
    found = compared(runs)["sets"][0]
    rows = scored(1.6)
    assert (found["images"], found["patients"]) == (160, len(set(rows.patient_ids)))
    positives = rows.values.sum(axis=0).tolist()
    assert found["macro"]["positives"] == [min(positives), max(positives)]
    errors = [pair["macro"]["standard_error"] for pair in found["comparison"]["pairs"]]
    text = done("compare", *QUICK, cwd=runs).out
    for error in errors:
        assert f"{2.8 * error:.3f}" in text
    assert "MDD: minimum detectable difference" in text


def test_row_order_and_label_order_of_a_run_do_not_matter(runs: Path) -> None:
    rows = scored(0.2, seed=3)
    order = np.random.default_rng(0).permutation(160).tolist()
    turned = subset(rows, order)
    turned = replace(
        turned,
        names=turned.names[::-1],
        **{
            key: getattr(turned, key)[:, ::-1]
            for key in ("values", "known", "logits", "probabilities")
        },
    )
    before = compared(runs, "good", "weak")["sets"][0]["comparison"]
    add(runs, "weak", turned)
    found = compared(runs, "good", "weak")["sets"]
    assert len(found) == 1
    assert found[0]["comparison"] == before


def test_sets_of_other_names_and_equal_rows_are_one_data_set(runs: Path) -> None:
    add(runs, "other", scored(0.9, seed=9), "nih-test")
    found = compared(runs)
    assert [one["name"] for one in found["sets"]] == ["test"]
    assert found["sets"][0]["runs"] == ["good", "other", "twin", "weak"]


def test_several_sets_are_several_rows_and_a_run_may_lack_one(runs: Path) -> None:
    outside = scored(1.0, truth_seed=5, rows=90)
    write_compared(runs / "runs" / "wide", {"test": scored(1.1, seed=8), "outside": outside})
    table = done("compare", "--format", "markdown", *QUICK, cwd=runs).out
    row = next(line for line in table.splitlines() if line.startswith("| outside |"))
    assert row.count(MISSING) == 3
    assert "**" not in row
    assert "outside: only wide is on these images, so nothing is tested." in table


def test_one_run_is_a_table_without_tests_and_says_so(runs: Path) -> None:
    outcome = done("compare", "good", *QUICK, cwd=runs)
    assert "One run only: nothing is compared and nothing is tested." in outcome.out
    assert "minus" not in outcome.out
    assert compared(runs, "good")["sets"][0]["comparison"] is None


def test_the_same_run_twice_is_one_run(runs: Path) -> None:
    assert len(compared(runs, "good", "runs/good")["runs"]) == 1


def test_a_folder_of_runs_stands_for_all_of_them(runs: Path) -> None:
    write_compared(runs / "old" / "aged", {"test": scored(0.5, seed=7)})
    names = [run["name"] for run in compared(runs, "runs", "old")["runs"]]
    assert names == ["good", "twin", "weak", "aged"]


def test_runs_of_one_name_are_told_apart_by_their_folders(runs: Path) -> None:
    write_compared(runs / "old" / "good", {"test": scored(0.5, seed=7)})
    names = [run["name"] for run in compared(runs, "good", "old/good")["runs"]]
    assert names == ["runs/good", "old/good"]


# ---- what is not compared ------------------------------------------------------------------------


def test_other_rows_are_named_and_not_compared(runs: Path) -> None:
    add(runs, "part", subset(scored(1.6, seed=4), range(20, 160)))
    found = compared(runs, "good", "part")
    assert [one["runs"] for one in found["sets"]] == [["good"], ["part"]]
    assert found["sentences"] == [
        "test: good and part are not compared: 20 of 160 images are only in the former and 0 of "
        "140 only in the latter, such as images/0000.png. --common-rows compares on the rows they "
        "share."
    ]


def test_common_rows_compares_on_what_is_shared_and_counts_the_rest(runs: Path) -> None:
    part = subset(scored(0.3, seed=4), range(20, 160))
    add(runs, "part", part)
    found = compared(runs, "good", "part", "--common-rows")
    assert [one["images"] for one in found["sets"]] == [140]
    assert "left out: 20 of 160 rows of good and 0 of 140 rows of part" in found["sentences"][0]
    good = subset(scored(1.6, seed=1), range(20, 160))
    pair = found["sets"][0]["comparison"]["pairs"][0]["macro"]
    expected = paired_macro_difference(
        good.values, good.known, good.logits, part.logits, good.patient_ids, names=LABELS,
        image_ids=good.image_ids,
    )  # fmt: skip
    assert pair["difference"] == expected.difference
    assert found["sets"][0]["macro"]["estimates"][0]["value"] == expected.first


def test_common_rows_of_equal_sets_changes_nothing(runs: Path) -> None:
    assert compared(runs, "--common-rows") == compared(runs)


def test_images_of_other_truth_are_no_common_rows(runs: Path) -> None:
    rows = scored(1.6, seed=4)
    values = rows.values.copy()
    values[7, 0] = 1 - values[7, 0] if rows.known[7, 0] else values[7, 0]
    known = rows.known.copy()
    known[9] = False
    changed = replace(rows, values=values * known, known=known)
    add(runs, "part", changed)
    assert (
        "the truth of 2 images differs, such as images/0007.png"
        in (compared(runs, "good", "part")["sentences"][0])
    )
    found = compared(runs, "good", "part", "--common-rows")
    assert found["sets"][0]["images"] == 158


def test_sets_without_a_shared_image_stay_apart(runs: Path) -> None:
    rows = scored(1.6, seed=4)
    add(runs, "part", replace(rows, image_ids=tuple(f"x{i}" for i in range(160))))
    found = compared(runs, "good", "part", "--common-rows")
    assert [one["runs"] for one in found["sets"]] == [["good"], ["part"]]
    assert "160 of 160 images are only in the former" in found["sentences"][0]


def test_other_labels_are_named_and_not_compared(runs: Path) -> None:
    add(runs, "mass", scored(1.6, names=("edema", "mass")))
    sentence = compared(runs, "good", "mass", "--common-rows")["sentences"][0]
    assert "their labels differ (only the former: effusion; only the latter: mass)" in sentence
    (offer,) = compared(runs, "good", "mass")["sentences"]
    assert "--common-rows" not in offer  # it needs equal labels
    assert "fit both with the same --class-columns" in offer


def test_a_label_one_run_cannot_score_leaves_every_macro(runs: Path) -> None:
    add(runs, "blind", scored(1.6, seed=4, not_scored=["effusion"]))
    found = compared(runs, "good", "blind")["sets"][0]
    assert found["macro_labels"] == ["edema"]
    assert found["macro"]["estimates"][0]["value"] == found["labels"][0]["estimates"][0]["value"]
    text = done("compare", "good", "blind", "--labels", *QUICK, cwd=runs).out
    assert "macro over 1 of 2 labels, without effusion" in text
    assert "not fitted" in text


def test_runs_that_name_other_patients_are_warned_of(runs: Path) -> None:
    rows = scored(0.7, seed=4)
    add(runs, "nameless", replace(rows, patient_ids=(None,) * 160))
    found = compared(runs, "nameless", "good")
    assert "nameless names other patients, or none" in found["sentences"][0]
    assert found["sets"][0]["comparison"]["unit"] == "patient"


# ---- what may not be best ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "mark", "sentence"),
    [
        ({"random_weights": 3}, "random weights", "RANDOM WEIGHTS (seed 3)"),
        ({"null_control": True}, "label-permutation control", "LABEL-PERMUTATION CONTROL"),
    ],
)
def test_controls_are_marked_and_never_best(
    runs: Path, changes: dict[str, Any], mark: str, sentence: str
) -> None:
    add(runs, "control", scored(4.0, seed=6), **changes)
    table = done("compare", "--format", "markdown", *QUICK, cwd=runs).out
    header = next(line for line in table.splitlines() if line.startswith("| data set"))
    assert f"control ({mark})" in header
    row = next(line for line in table.splitlines() if line.startswith("| test |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert "**" not in cells[1]
    assert any(cell.startswith("**") for cell in cells)
    assert sentence in table
    assert compared(runs)["sets"][0]["macro"]["best"] in {"good", "twin"}


def test_numbers_of_sets_seen_in_pretraining_are_marked(runs: Path) -> None:
    seen = PretrainingReport("test", ("MIMIC-CXR",), "test may hold images of its pretraining")
    add(runs, "seen", scored(1.0, seed=6), pretraining=(seen,))
    table = done("compare", "--format", "markdown", *QUICK, cwd=runs).out
    assert "‡" in next(line for line in table.splitlines() if line.startswith("| test |"))
    assert "‡ The backbone's pretraining may hold images of this set" in table


# ---- what is printed and written -----------------------------------------------------------------


def test_every_format_is_printed_and_written_alike(runs: Path) -> None:
    for name, suffix in (("markdown", "md"), ("csv", "csv"), ("latex", "tex"), ("html", "html")):
        file = f"out/deep/table.{suffix}"
        outcome = done("compare", "--format", name, "--output", file, *QUICK, cwd=runs)
        assert (runs / file).read_text(encoding="utf-8") == outcome.out


def test_csv_holds_every_number_unrounded(runs: Path) -> None:
    text = done("compare", "--format", "csv", *QUICK, cwd=runs).out
    rows = list(csv.DictReader(io.StringIO(text)))
    found = compared(runs)["sets"][0]
    macro = [row for row in rows if row["row"] == "macro" and row["kind"] == "auroc"]
    assert [float(row["value"]) for row in macro] == [
        one["value"] for one in found["macro"]["estimates"]
    ]
    tests = [row for row in rows if row["row"] == "macro" and row["kind"] == "difference"]
    assert [float(row["p_holm"]) for row in tests] == [
        pair["adjusted_p"] for pair in found["comparison"]["pairs"]
    ]


def test_a_narrow_terminal_cuts_no_number(runs: Path) -> None:
    for name in ("a", "b", "c"):
        add(runs, name, scored(0.8, seed=ord(name)))
    found = compared(runs)["sets"][0]
    out = done("compare", "--labels", *QUICK, cwd=runs, COLUMNS="80").out
    for row in (found["macro"], *found["labels"]):
        for one in row["estimates"]:
            assert f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]" in out


def test_table_and_notes_go_to_stdout_and_progress_to_stderr(runs: Path) -> None:
    outcome = done("compare", cwd=runs)
    assert "Macro AUROC" in outcome.out
    assert "test: 3 runs on 160 images" in outcome.err
    assert outcome.out == done("compare", *QUICK, cwd=runs).out


# ---- what goes wrong -----------------------------------------------------------------------------


def test_what_is_typed_wrong_is_a_usage_error(runs: Path) -> None:
    assert "Did you mean 'good'?" in refused(2, "compare", "goood", cwd=runs)
    assert "Runs there: good, twin, weak." in refused(2, "compare", "xyz", cwd=runs)
    assert "no finished run in elsewhere/" in refused(
        2, "compare", "--output-dir", "elsewhere", cwd=runs
    )
    assert "expected one of markdown, csv, latex, html, got 'docx'" in refused(
        2, "compare", "--format", "docx", cwd=runs
    )
    assert "ends with one of .md, .csv, .tex, .html" in refused(
        2, "compare", "--output", "table.pdf", cwd=runs
    )
    assert "--json and --format" in refused(2, "compare", "--json", "--format", "csv", cwd=runs)
    lines = refused(2, "compare", "--format", "docx", "-o", "x", cwd=runs)
    assert len(lines.splitlines()) == 2


@pytest.mark.parametrize("suffix", [".md", ".csv", ".tex", ".html"])
def test_only_its_own_tables_are_overwritten(runs: Path, suffix: str) -> None:
    file = runs / f"own{suffix}"
    for _ in range(2):
        done("compare", "-o", file, *QUICK, cwd=runs)
    mine = runs / f"mine{suffix}"
    mine.write_text("Path,label\na.png,1\n", encoding="utf-8")
    message = refused(2, "compare", "-o", mine, *QUICK, cwd=runs)
    assert "was not written by `cxrlearn compare`" in message
    assert mine.read_text(encoding="utf-8") == "Path,label\na.png,1\n"


def test_an_unfinished_folder_is_a_data_error_when_named_and_passed_over_otherwise(
    runs: Path,
) -> None:
    (runs / "runs" / "half").mkdir()
    assert "is runs/half the folder of a finished run?" in refused(3, "compare", "half", cwd=runs)
    assert len(compared(runs)["runs"]) == 3


def _without(*keys: str) -> str:
    return json.dumps({"schema_version": 1, **{key: {} for key in keys}})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "cannot read the report"),
        ("[]", "has no schema_version"),
        ('{"schema_version": 99}', "Update cxrlearn"),
        ('{"schema_version": 1}', "is damaged (KeyError"),
        ('{"schema_version": 1, "backbone": 3}', "is damaged (TypeError"),
        (_without("backbone", "task", "results"), "is damaged"),
    ],
)
def test_damaged_reports(runs: Path, text: str, part: str) -> None:
    (runs / "runs" / "weak" / "report.json").write_text(text)
    assert part in refused(3, "compare", cwd=runs)


def test_missing_and_damaged_predictions(runs: Path) -> None:
    file = runs / "runs" / "weak" / "predictions-test.csv"
    file.write_text(file.read_text() + "images/new.png,P1,0,1,0.5,0.5,0.5,0.5\n")
    assert "is not the file its report was made with" in refused(3, "compare", cwd=runs)
    file.unlink()
    assert "no predictions at" in refused(3, "compare", cwd=runs)


def test_a_report_without_predictions(runs: Path) -> None:
    folder = runs / "runs" / "weak"
    (result,) = json.loads((folder / "report.json").read_text())["results"]
    edit_report(folder, results=[result | {"predictions": None}])
    assert "holds no predictions of test" in refused(3, "compare", cwd=runs)


def test_output_that_cannot_be_written_is_a_disk_error(runs: Path) -> None:
    (runs / "file").write_text("")
    assert "cannot write" in refused(8, "compare", *QUICK, "-o", "file/table.md", cwd=runs)
    assert run_cli("compare", *QUICK, cwd=runs).code == 0
