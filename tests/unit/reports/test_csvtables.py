"""table.csv and metrics.csv: every number unrounded, read back from the text."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cxrlearn.reports.csvtables import COLUMNS, METRIC_COLUMNS, curve_csv, metrics_csv, table_csv
from tests.support.run_reports import (
    NAMES,
    full_report,
    sample_predictions,
    sample_report,
    uneven_curve,
)

if TYPE_CHECKING:
    from cxrlearn.evaluation.results import Estimate
    from cxrlearn.reports.schema import RunReport


@pytest.fixture(scope="module")
def report() -> RunReport:
    return sample_report({"test": sample_predictions(), "ext | 1": sample_predictions(1)})


@pytest.fixture(scope="module")
def full() -> RunReport:
    return full_report({"test": sample_predictions(), "ext | 1": sample_predictions(1)})


def _read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def test_columns_of_the_first_version_stay_where_they_were() -> None:
    assert COLUMNS[:15] == (
        "set", "row", "label", "auroc", "low", "high", "positives", "negatives", "masked",
        "positive_patients", "negative_patients", "unit", "clusters",
        "reason", "cautions",
    )  # fmt: skip


def test_csv_has_a_row_for_each_set_and_label_and_macro(report: RunReport) -> None:
    rows = list(csv.DictReader(io.StringIO(table_csv(report), newline="")))
    assert list(dict.fromkeys(row["set"] for row in rows)) == ["test", "ext | 1"]
    first = [row for row in rows if row["set"] == "test"]
    assert tuple(row["label"] for row in first) == (*NAMES, "")
    assert [row["row"] for row in first] == ["label"] * 6 + ["macro"]
    labels = report.results[0].evaluation.labels
    for row, label in zip(first[:-1], labels, strict=True):
        assert (float(row["auroc"]) if row["auroc"] else None) == label.auroc.value
        assert (float(row["high"]) if row["high"] else None) == label.auroc.high
        assert int(row["positives"]) == label.positives
        assert int(row["masked"]) == label.masked
        assert row["reason"] == (label.auroc.reason or "")
        assert row["cautions"] == "; ".join(label.auroc.cautions)
    macro = first[-1]
    assert float(macro["low"]) == report.results[0].evaluation.macro.low
    assert macro["positives"] == ""
    assert macro["unit"] == "patient"
    assert {row["average_precision"] for row in first} == {""}


def test_other_metrics_stand_beside_the_auroc(full: RunReport) -> None:
    rows = [row for row in _read(table_csv(full)) if row["set"] == "test"]
    for row, label in zip(rows, full.results[0].evaluation.labels, strict=False):
        for metric in ("average_precision", "brier", "calibration_error"):
            estimate: Estimate | None = getattr(label, metric)
            low = None if estimate is None else estimate.low
            assert _number(row[f"{metric}_low"]) == low
    assert _number(rows[-1]["average_precision"]) == 0.6


def test_metrics_hold_every_estimate_of_the_report_once(full: RunReport) -> None:
    rows = _read(metrics_csv(full))
    assert tuple(rows[0]) == METRIC_COLUMNS
    keys = [tuple(row[key] for key in METRIC_COLUMNS[:7]) for row in rows]
    assert len(set(keys)) == len(keys)
    per_set = (
        6  # AUROC of each label
        + 4 * (5 + 2 * 5)  # four labels with scores: other metrics, rates at two thresholds
        + 1 + 11  # the macro AUROC and all other averages
        + 3 * 7  # subgroups: each label and the macro
        + 2 * 7  # floor and strata
    )  # fmt: skip
    assert len(rows) == 2 * per_set


def test_metrics_are_unrounded_and_name_rule_and_group(full: RunReport) -> None:
    rows = _read(metrics_csv(full))
    label = full.results[0].evaluation.labels[0]
    (auroc,) = (
        row
        for row in rows
        if (row["set"], row["label"], row["metric"], row["group"])
        == ("test", NAMES[0], "auroc", "")
    )
    assert _number(auroc["high"]) == label.auroc.high
    rules = {row["rule"] for row in rows if row["metric"] == "sensitivity"}
    assert rules == {"youden", "sensitivity>=0.90"}
    groups = {(row["column"], row["group"]) for row in rows if row["set"] == "test"}
    assert groups == {("", ""), ("sex", "F"), ("sex", "(blank)"), ("view", "PA <script>")}
    (missing,) = {row["reason"] for row in rows if row["rule"] == "sensitivity>=0.90"}
    assert missing == "validation has 4 positives, fewer than 10"


def test_curve_has_a_row_for_every_repeat_with_both_macros(full: RunReport) -> None:
    rows = _read(curve_csv(replace(full, curve=uneven_curve("test"))))
    assert [(row["size"], row["repeat"], _number(row["macro"])) for row in rows] == [
        ("0.1", "1", 0.55), ("0.1", "2", None), ("0.1", "3", 0.61),
        ("0.5", "1", 0.66), ("0.5", "2", 0.68), ("0.5", "3", 0.7), ("1.0", "1", 0.74),
    ]  # fmt: skip
    assert [_number(row["common_macro"]) for row in rows] == [
        0.55,
        None,
        0.61,
        0.6,
        0.61,
        0.62,
        0.65,
    ]
    assert {(row["labels"], row["without"]) for row in rows} == {("1", NAMES[1]), ("2", "")}
    assert {row["common_labels"] for row in rows} == {"1"}


def test_curve_of_equal_labels_has_its_macro_twice(full: RunReport) -> None:
    rows = _read(curve_csv(full))
    assert len(rows) == 14
    assert all(row["macro"] == row["common_macro"] for row in rows)
