"""The probe on a small study with sex, age and view: what an option changes in its report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from cxrlearn import read_features
from cxrlearn.workflows.probe_features import _WORKING
from tests.support.cli import done, refused
from tests.support.feature_files import edited
from tests.support.small_study import LABELS, Row, Study, embedded_study

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def with_person(row: Row) -> Row:
    """Add what a hospital knows of every patient and image."""
    patient, view = int(row["patient_id"][1:]), int(row["Path"][-5])
    return {
        **row,
        "sex": "MF"[patient // 2 % 2],
        "age": f"{20 + 3 * patient:03d}Y",
        "view": ("PA", "AP")[view],
        "study": f"S{patient:02d}",
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = embedded_study(tmp_path_factory.mktemp("study") / "base")
    for split in ("train", "val", "test"):
        study.rewrite(split, with_person)
    return study


@pytest.fixture
def study(base: Study, tmp_path: Path) -> Study:
    return base.copy(tmp_path / "study")


def probe(study: Study, *args: object, name: str = "run") -> dict[str, Any]:
    """Probe, and return report.json."""
    done("probe", "--quiet", "--name", name, *args, cwd=study.folder)
    text = (study.folder / "runs" / name / "report.json").read_text(encoding="utf-8")
    report: dict[str, Any] = json.loads(text)
    return report


def file_of(study: Study, name: str, run: str = "run") -> str:
    return (study.folder / "runs" / run / name).read_text(encoding="utf-8")


def set_labels(study: Study, split: str, **cells: str) -> None:
    study.rewrite(split, lambda row: {**row, **cells})


def numbers(part: Any) -> list[float]:  # noqa: ANN401 - any JSON
    """Return every number of a part of a report, in order."""
    if isinstance(part, dict):
        return [number for key in sorted(part) for number in numbers(part[key])]
    if isinstance(part, list):
        return [number for one in part for number in numbers(one)]
    return [float(part)] if isinstance(part, (int, float)) and not isinstance(part, bool) else []


# ---- what every run with these columns says ------------------------------------------------------


def test_floor_subgroups_strata_and_the_detectable_difference_are_there_unasked(
    study: Study,
) -> None:
    result = probe(study)["results"][0]
    assert result["floor"]["columns"] == ["age", "sex", "view"]
    assert {group["column"] for group in result["subgroups"]} == {"age", "sex", "view"}
    assert result["within_strata"]["columns"] == ["view", "sex"]
    assert result["detectable"]["difference"] > 0
    sizes = {(g["column"], g["value"]): g["rows"] for g in result["subgroups"]}
    assert (sizes["sex", "M"], sizes["sex", "F"], sizes["view", "PA"]) == (8, 4, 6)
    assert (sizes["age", "60-79"], sizes["age", "80+"]) == (8, 4)


def test_none_turns_them_off(study: Study) -> None:
    result = probe(study, "--subgroup", "none", "--floor-columns", "none")["results"][0]
    assert result["floor"] is None
    assert result["subgroups"] == []
    assert result["within_strata"] is None
    assert "--floor-columns none" in result["detectable"]["reason"]


def test_ages_of_nonsense_are_no_shortcut_and_no_error(study: Study) -> None:
    for split in ("train", "val", "test"):
        set_labels(study, split, age="forty-two")
    result = probe(study)["results"][0]
    ages = [group for group in result["subgroups"] if group["column"] == "age"]
    assert [group["value"] for group in ages] == ["(blank)"]
    assert result["floor"] is not None


# ---- streaming -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--standardize", "--class-weight", "balanced"]])
def test_features_read_from_disk_give_the_same_report(study: Study, options: list[str]) -> None:
    rows = study.rows("train")
    order = iter(rows[::-1][7:] + rows[::-1][:7])  # not that of the file
    study.rewrite("train", lambda _: next(order))
    curve = ("--train-fraction", "0.5,1", "--repeats", 2)
    resident = probe(study, *options, *curve, name="resident")
    streamed = probe(study, *options, *curve, "--memory-limit", 1e-4, name="streamed")
    for key in ("results", "probe", "curve", "splits"):
        ours, theirs = numbers(streamed[key]), numbers(resident[key])
        if key == "probe":  # a certificate is a bound, not a number of the fit
            for report in (streamed, resident):
                for label in report["probe"]["labels"]:
                    assert label.pop("gap") <= 1e-6
                    label.pop("iterations")
            ours, theirs = numbers(streamed[key]), numbers(resident[key])
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    tables = [
        pd.read_csv(study.folder / "runs" / name / "predictions-test.csv")
        for name in ("streamed", "resident")
    ]
    assert list(tables[0]["image_id"]) == [row["Path"] for row in study.rows("test")]
    for column in tables[0]:
        if column.startswith(("logit_", "prob_")):
            np.testing.assert_allclose(tables[0][column], tables[1][column], atol=1e-6)
        else:
            assert tables[0][column].equals(tables[1][column])


def test_streaming_is_said_and_leaves_a_gigabyte_for_the_fit(study: Study) -> None:
    outcome = done("probe", "--memory-limit", 1e-4, cwd=study.folder)
    assert "read from disk as needed" in outcome.err
    enough = (_WORKING + 2**20) / 2**30
    outcome = done("probe", "--memory-limit", enough, cwd=study.folder)
    assert "read from disk" not in outcome.err


# ---- aggregation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("column", "first"), [("patient", "P16"), ("study", "S16")])
def test_predictions_are_of_patients_or_studies(study: Study, column: str, first: str) -> None:
    report = probe(study, "--aggregate-by", column)
    evaluation = report["results"][0]["evaluation"]
    assert evaluation["rows"] == 6
    table = pd.read_csv(study.folder / "runs/run/predictions-test.csv")
    assert len(table) == 6
    assert table["image_id"][0] == first
    assert list(table["patient_id"]) == [f"P{number}" for number in range(16, 22)]
    alone = probe(study, name="alone")
    images = pd.read_csv(study.folder / "runs/alone/predictions-test.csv")
    mean = images.groupby("patient_id")["prob_Effusion"].mean().to_numpy()
    np.testing.assert_allclose(table["prob_Effusion"], mean)
    assert alone["results"][0]["evaluation"]["rows"] == 12
    # Both images of a patient are of one sex, and of two views.
    groups = {(g["column"], g["value"]): g["rows"] for g in report["results"][0]["subgroups"]}
    assert groups["sex", "M"] + groups["sex", "F"] == 6
    assert groups["view", "(blank)"] == 6


# ---- the overlap audit ---------------------------------------------------------------------------


def foreign_features(study: Study) -> None:
    """Pass the feature file off as that of a backbone that was pretrained on MIMIC-CXR."""
    file = study.features.with_name("refers.h5")
    study.features.rename(file)
    with edited(file) as content:
        found = json.loads(content.attrs["fingerprint"])
        found |= {"backbone": "refers", "feature": "pooled"}
        content.attrs["fingerprint"] = json.dumps(found, sort_keys=True)


@pytest.mark.parametrize(
    ("origin", "flagged"), [("mimic-cxr", True), ("reflacx,own", True), ("nih", False)]
)
def test_a_set_that_the_backbone_saw_is_marked_in_every_table(
    study: Study, origin: str, *, flagged: bool
) -> None:
    foreign_features(study)
    report = probe(study, "-m", "refers", "--origin", origin)
    (found,) = report["pretraining"]
    assert found["datasets"] == (["mimic-cxr"] if flagged else [])
    assert ("may have seen" in found["sentence"]) == flagged
    for name in ("table.md", "report.html"):
        assert ("\N{DAGGER}" in file_of(study, name)) == flagged, name
    ledger = (study.folder / "runs/ledger.csv").read_text(encoding="utf-8")
    assert ("pretraining may hold this set" in ledger) == flagged


# ---- sentences for what cannot be computed -------------------------------------------------------


def rare_rows(study: Study) -> None:
    study.rewrite("test", lambda row: {**row, "sex": "X" if row["Path"] < "images/p17_1" else "F"})


MASKED = {"Effusion": "", "Cardiomegaly": "-1"}
ODD: dict[str, Callable[[Study], object]] = {
    "no positives in test": lambda study: set_labels(study, "test", Effusion="0"),
    "test of one class": lambda study: set_labels(study, "test", Effusion="0", Cardiomegaly="1"),
    "a subgroup of three": rare_rows,
    "validation of one class": lambda study: set_labels(
        study, "val", Effusion="0", Cardiomegaly="0"
    ),
    "all labels of a row masked": lambda study: study.rewrite(
        "train",
        lambda row: {**row, **MASKED} if "p03_0" in row["Path"] else row,
    ),
    "a single patient in test": lambda study: set_labels(study, "test", patient_id="P99"),
    "a single patient in train": lambda study: set_labels(study, "train", patient_id="P98"),
    "a blank label in train": lambda study: set_labels(study, "train", Effusion=""),
}  # fmt: skip


@pytest.mark.parametrize("how", ODD)
def test_what_cannot_be_computed_is_null_with_a_sentence(study: Study, how: str) -> None:
    ODD[how](study)
    done("probe", "--name", "run", cwd=study.folder)
    report = json.loads(file_of(study, "report.json"))
    result = report["results"][0]
    labels = {label["name"]: label["auroc"] for label in result["evaluation"]["labels"]}
    if how in {"no positives in test", "test of one class", "a blank label in train"}:
        assert labels["Effusion"]["value"] is None
        assert len(labels["Effusion"]["reason"]) > 10
    if how == "test of one class":
        assert result["evaluation"]["macro"]["value"] is None
        assert result["floor"]["exceeds"] is None
        assert result["detectable"]["difference"] is None
    elif how == "a subgroup of three":
        group = next(g for g in result["subgroups"] if g["value"] == "X")
        assert group["rows"] == 3
        for label in group["labels"]:
            found = label["auroc"]
            assert found["value"] is None or found["low"] is None or found["cautions"]
    elif how == "validation of one class":
        assert {label["c_from"] for label in report["probe"]["labels"]} == {"default"}
    elif how == "a single patient in test":
        assert result["evaluation"]["macro"]["value"] is not None
        assert result["evaluation"]["macro"]["low"] is None
        assert "one patient" in result["evaluation"]["macro"]["reason"]
    elif how == "a blank label in train":
        assert any("Effusion: not fitted" in warning for warning in report["warnings"])


def write_nan(study: Study) -> str:
    """Make one training feature NaN and return its image."""
    row = study.rows("train")[3]["Path"]
    number = list(read_features(study.features).ids).index(row)
    with edited(study.features) as content:
        content["features"][number, 5] = np.nan
    return row


@pytest.mark.parametrize("options", [[], ["--knn"], ["--linear"], ["--solver", "sklearn"]])
def test_features_that_are_no_numbers_are_refused_with_their_image(
    study: Study, options: list[str]
) -> None:
    image = write_nan(study)
    message = refused(3, "probe", *options, cwd=study.folder)
    assert "1 of 24 feature rows hold NaN or infinite values" in message
    assert image in message
    assert "NaN" in refused(3, "probe", "--memory-limit", 1e-4, cwd=study.folder)


def test_label_columns_that_a_file_lacks_are_named(study: Study) -> None:
    study.rewrite("test", lambda row: {k: v for k, v in row.items() if k != "Effusion"})
    message = refused(3, "probe", cwd=study.folder)
    assert "test.csv" in message
    assert "Effusion" in message


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--floor-columns", "age,bmi"], "no column 'bmi' for the metadata baseline"),
        (["--subgroup", "ward"], "no column 'ward' (--subgroup)"),
        (["--aggregate-by", "exam"], "no column 'exam' to aggregate by"),
    ],
)
def test_missing_columns_are_data_errors_before_anything_is_embedded(
    study: Study, options: list[str], part: str
) -> None:
    study.features.unlink()
    assert part in refused(3, "probe", *options, cwd=study.folder)
    assert not study.features.exists()


def test_no_label_that_can_be_fitted_is_a_data_error(study: Study) -> None:
    set_labels(study, "train", Effusion="0", Cardiomegaly="0")
    assert "no label can be fitted" in refused(3, "probe", cwd=study.folder)


# ---- the null control and the curve --------------------------------------------------------------


def test_a_null_control_has_a_name_and_a_mark_of_its_own(study: Study) -> None:
    done("probe", "--quiet", cwd=study.folder)
    outcome = done("probe", "--null", cwd=study.folder)
    assert "LABEL-PERMUTATION CONTROL" in outcome.out
    report = json.loads(file_of(study, "report.json", "cxr-tiny-logreg-null"))
    assert report["null_control"] is True
    real = json.loads(file_of(study, "report.json", "cxr-tiny-logreg"))
    assert real["null_control"] is False
    assert report["splits"] == real["splits"]
    tables = [
        pd.read_csv(study.folder / f"runs/cxr-tiny-logreg{end}/predictions-test.csv")
        for end in ("", "-null")
    ]
    truth = [f"true_{label}" for label in LABELS]
    assert tables[0][truth].equals(tables[1][truth])
    assert not tables[0]["logit_Effusion"].equals(tables[1]["logit_Effusion"])


def test_the_curve_stands_in_the_report_and_ends_at_the_run_itself(study: Study) -> None:
    options = ("--train-fraction", "0.5,1", "--few-shot", "2", "--repeats", 3)
    report = probe(study, *options)
    points = {(one["kind"], one["size"]): one for one in report["curve"]}
    assert list(points) == [("fraction", 0.5), ("fraction", 1.0), ("shots", 2.0)]
    assert points["fraction", 0.5]["patients"] == [6, 6, 6]
    whole = points["fraction", 1.0]
    assert whole["macro"] == [report["results"][0]["evaluation"]["macro"]["value"]]
    alone = probe(study, name="alone")
    assert alone["curve"] == []
    assert alone["results"] == report["results"]


def test_a_picture_of_train_under_another_name_and_compression_is_noticed(study: Study) -> None:
    from PIL import Image

    source, target = study.rows("train")[6]["Path"], study.rows("test")[2]["Path"]
    with Image.open(study.folder / source) as image:
        image.save(study.folder / target, compress_level=0)
    report = probe(study)
    (warning,) = [one for one in report["warnings"] if "nearly the same" in one]
    assert source in warning
    assert target in warning
