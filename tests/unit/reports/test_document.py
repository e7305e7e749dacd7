"""report.json: finite, sorted, whole, and described key by key in the reference."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cxrlearn.errors import DataError
from cxrlearn.evaluation.results import Estimate
from cxrlearn.reports.document import json_text, read_report, report_document
from cxrlearn.reports.schema import LinearReport, NeighboursReport, RateReport
from tests.support.run_reports import (
    NAMES,
    full_report,
    sample_backbone,
    sample_predictions,
    sample_report,
    sample_training,
)

if TYPE_CHECKING:
    from cxrlearn.reports.schema import RunReport

DOCS = Path(__file__).resolve().parents[3] / "docs" / "reference" / "report-schema.md"


@pytest.fixture(scope="module")
def report() -> RunReport:
    return sample_report({"test": sample_predictions(), "ext,1": sample_predictions(1)})


@pytest.fixture
def document(report: RunReport) -> dict[str, Any]:
    files = {name: {"file": f"{name}.csv", "sha256": "0" * 64} for name in ("test", "ext,1")}
    return report_document(report, {"host": "here", "versions": {"numpy": "2"}}, files)


def test_document_survives_json(document: dict[str, Any]) -> None:
    assert json.loads(json_text(document)) == document


def test_keys_are_sorted_and_lines_end_with_one_newline(document: dict[str, Any]) -> None:
    text = json_text(document)
    assert text.endswith("}\n")
    assert list(json.loads(text)) == sorted(document)


def test_schema_version_and_keys_of_version_1_are_pinned(document: dict[str, Any]) -> None:
    assert document["schema_version"] == 1
    assert set(document) == {
        "schema_version", "command", "name", "task", "backbone", "split_origin", "splits",
        "overlaps", "probe", "results", "warnings", "protocol", "provenance", "pretraining",
        "curve", "null_control", "aggregation", "finetune",
    }  # fmt: skip
    assert set(document["results"][0]) == {
        "name", "evaluation", "predictions", "subgroups", "within_strata", "floor", "detectable",
        "drop", "row",
    }  # fmt: skip
    assert set(document["results"][0]["evaluation"]["labels"][0]) == {
        "name", "auroc", "positives", "negatives", "masked", "positive_patients",
        "negative_patients", "standard_error", "design_effect",
        "average_precision", "brier", "calibration_error", "calibration", "operating_points",
    }  # fmt: skip
    assert set(document["results"][0]["evaluation"]["macro"]) == {
        "value", "low", "high", "reason", "cautions",
    }  # fmt: skip


def _keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in _keys(item)}
    if isinstance(value, list):
        return {key for item in value for key in _keys(item)}
    return set()


def test_reference_describes_every_key() -> None:
    described = set(re.findall(r"`([A-Za-z_0-9]+)`", DOCS.read_text(encoding="utf-8")))
    full = full_report({"test": sample_predictions(), "ext,1": sample_predictions(1)})
    files = {name: {"file": "", "sha256": ""} for name in ("test", "ext,1")}
    assert _keys(report_document(full, {}, files)) - described == set()


def test_protocol_speaks_of_everything_that_the_report_holds() -> None:
    full = full_report({"test": sample_predictions(), "ext,1": sample_predictions(1)})
    said = report_document(full, {})["protocol"]
    plain = report_document(sample_report({"test": sample_predictions()}), {})["protocol"]
    parts = ("Thresholds were chosen on val", "15 bins", "Subgroups by sex, view",
             "metadata baseline", "nested subsets")  # fmt: skip
    for part in parts:
        assert sum(part in sentence for sentence in said) == 1, part
        assert not any(part in sentence for sentence in plain), part


def test_undefined_is_null_with_a_reason_never_nan(document: dict[str, Any]) -> None:
    for result in document["results"]:
        for label in result["evaluation"]["labels"]:
            assert (label["auroc"]["value"] is None) <= (label["auroc"]["reason"] is not None)
    assert document["results"][0]["evaluation"]["labels"][5]["auroc"]["reason"].startswith("not f")


@pytest.mark.parametrize("bad", [math.nan, math.inf, np.float64("nan")])
def test_number_that_is_not_finite_is_refused_by_key(report: RunReport, bad: float) -> None:
    macro = Estimate(bad, None, None, None, ())
    broken = replace(
        report,
        results=(
            replace(
                report.results[0], evaluation=replace(report.results[0].evaluation, macro=macro)
            ),
        ),
    )
    with pytest.raises(ValueError, match=r"report\.results\[0\]\.evaluation\.macro\.value is"):
        report_document(broken, {})


def test_numpy_numbers_become_plain_and_other_types_are_refused() -> None:
    assert json_text({"a": np.int64(3), "b": (np.float32(0.5), np.bool_(1))}) == (
        '{\n  "a": 3,\n  "b": [\n    0.5,\n    true\n  ]\n}\n'
    )
    with pytest.raises(TypeError, match=r"document\.a is of type PosixPath"):
        json_text({"a": Path("x")})


def test_protocol_says_which_split_decided_what_and_the_unit_of_resampling(
    document: dict[str, Any],
) -> None:
    backbone, fit, choice, first, second, macro, unknown = document["protocol"]
    assert "cdcd" in backbone
    assert "(not verified: no published hash)" in backbone
    assert "fitted on train (100 images of 60 patients) only" in fit
    assert choice == (
        "C was chosen on val by log-loss: for 1 of 6 labels separately; one shared value for 4 "
        f"labels ({', '.join(NAMES[1:5])}) with few positives or negatives there."
    )
    assert re.match(
        r"test: 80 images of \d+ patients\. 95 % intervals and tests come from the jackknife over "
        r"patients with Student's t .+\. 1 of these patients are images that name no patient\.",
        first,
    )
    assert second.startswith("ext,1: ")
    assert macro.startswith("Macro: unweighted mean of the AUROC of each label")
    assert unknown == (
        "Labels that are uncertain (-1) are left out, label by label; "
        "blank ones are taken as negative."
    )


def test_a_validation_set_on_which_no_label_decides_alone_is_said_to_be_small(
    report: RunReport,
) -> None:
    labels = [replace(one, c_from="shared" if one.c_from else None) for one in report.probe.labels]
    changed = replace(report, probe=replace(report.probe, labels=tuple(labels)))
    said = report_document(changed, {})["protocol"][2]
    assert "for 1 of" not in said
    assert "The validation set is small for this choice: no label has 20 positives and" in said


def test_labels_that_validation_cannot_decide_are_named(report: RunReport) -> None:
    labels = [
        replace(one, c_from="default") if place == 1 else one
        for place, one in enumerate(report.probe.labels)
    ]
    changed = replace(report, probe=replace(report.probe, labels=tuple(labels)))
    said = report_document(changed, {})["protocol"][2]
    assert said.endswith(f"; the default for 1 label ({NAMES[1]}), which val cannot decide.")


def test_given_and_default_c_are_told_apart_from_a_chosen_one(report: RunReport) -> None:
    for source, said in (
        ("given", "C = 0.25, as given"),
        ("default", "C = 0.25, the default, because val has no label with both classes"),
    ):
        labels = [
            replace(label, c_from=source if label.c_from else None, C=label.C and 0.25)  # type: ignore[arg-type]
            for label in report.probe.labels
        ]
        changed = replace(report, probe=replace(report.probe, labels=tuple(labels)))
        assert report_document(changed, {})["protocol"][2] == f"{said}; no split chose it."


@pytest.mark.parametrize(
    ("criterion", "at_limit", "said"),
    [
        (
            "macro AUROC",
            True,
            "The linear layer: learning rate 0.1, weights of epoch 8 of 100, both chosen on val by "
            "macro AUROC among 2 rates; the rate lies at the end of those tried.",
        ),
        (
            None,
            False,
            "The linear layer: learning rate 0.1, weights of epoch 8 of 100; no split chose them.",
        ),
    ],
)
def test_choice_of_the_linear_layer_is_said(
    report: RunReport, criterion: str | None, *, at_limit: bool, said: str
) -> None:
    tried = (RateReport(0.1, 0.8, 7, None), RateReport(1.0, None, None, 3))
    linear = LinearReport(0.1, criterion, NAMES[:2], tried, at_limit, 100, 7, 256, 0.9)
    changed = replace(report, probe=replace(report.probe, kind="linear", linear=linear))
    assert report_document(changed, {})["protocol"][2] == said


@pytest.mark.parametrize(
    ("tried", "said"),
    [
        (((10, 0.9), (20, 0.8)), "k = 20 neighbours, chosen on val by log-loss among 2 values"),
        ((), "k = 20 neighbours, as given; no split chose it"),
    ],
)
def test_choice_of_neighbours_is_said(
    report: RunReport, tried: tuple[tuple[int, float], ...], said: str
) -> None:
    knn = NeighboursReport(20, 0.07, tried)
    changed = replace(report, probe=replace(report.probe, kind="knn", knn=knn))
    assert report_document(changed, {})["protocol"][2] == f"{said}; temperature 0.07."


def test_nothing_fitted_is_said(report: RunReport) -> None:
    labels = tuple(replace(label, c_from=None, C=None) for label in report.probe.labels)
    changed = replace(report, probe=replace(report.probe, labels=labels))
    assert report_document(changed, {})["protocol"][2] == "No label could be fitted."


def test_multiclass_choice_is_by_cross_entropy(report: RunReport) -> None:
    changed = replace(report, task=replace(report.task, kind="multiclass"))
    assert "chosen on val by cross-entropy" in report_document(changed, {})["protocol"][2]


def test_images_without_patients_are_said_to_give_narrow_intervals(report: RunReport) -> None:
    evaluation = replace(report.results[0].evaluation, unit="image", clusters=1)
    changed = replace(report, results=(replace(report.results[0], evaluation=evaluation),))
    said = report_document(changed, {})["protocol"][3]
    assert "test: 80 images of 1 image." in said
    assert "No patient ids: if patients have several images, these intervals are too narrow" in said


def test_nothing_is_added_where_every_image_names_its_patient(report: RunReport) -> None:
    evaluation = replace(report.results[0].evaluation, rows_without_patient=0)
    changed = replace(report, results=(replace(report.results[0], evaluation=evaluation),))
    assert report_document(changed, {})["protocol"][3].endswith("both with design effect).")


def test_random_weights_are_named_before_anything_else(report: RunReport) -> None:
    backbone = replace(sample_backbone(), random_weights=3, weights=None, weights_sha256=None)
    said = report_document(replace(report, backbone=backbone), {})["protocol"][0]
    assert said == "RANDOM WEIGHTS (seed 3): these numbers say nothing about medaug."


def test_rows_that_are_not_accounted_for_are_refused(report: RunReport) -> None:
    with pytest.raises(ValueError, match="are not 104 rows"):
        replace(report.splits[0], rows=104)


def test_parts_of_other_labels_are_refused(report: RunReport) -> None:
    with pytest.raises(ValueError, match="the labels of the probe are not those of the task"):
        replace(report, probe=replace(report.probe, labels=report.probe.labels[1:]))


def test_report_is_read_from_a_file_or_its_folder(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json_text(document), encoding="utf-8")
    assert read_report(tmp_path) == document
    assert read_report(tmp_path / "report.json") == document


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read the report"),
        ("[]", "not a report of cxrlearn"),
        ('{"schema_version": 2}', "schema version 2; this cxrlearn reads up to 1. Update"),
    ],
)
def test_other_files_are_refused_in_words(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_report(tmp_path)


def test_missing_report_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is .* the folder of a finished run"):
        read_report(tmp_path)


def test_the_account_of_a_training_has_the_documented_keys(report: RunReport) -> None:
    trained = replace(report, command="finetune", finetune=sample_training())
    document = report_document(trained, {})
    part = DOCS.read_text(encoding="utf-8").partition("### `finetune`")[2].partition("###")[0]
    rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    documented = {key for row in rows for key in re.findall("`([a-z_]+)`", row)}
    assert set(document["finetune"]) == documented
    assert set(document["finetune"]["history"][0]) == {
        "epoch", "loss", "rate", "skipped", "validation_loss", "validation_auroc",
    }  # fmt: skip
