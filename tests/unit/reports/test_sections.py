"""The tables below the main one: each as wide as its header, nothing where nothing is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cxrlearn.evaluation.results import Estimate
from cxrlearn.reports.sections import run_sections, set_sections
from tests.support.run_reports import (
    NAMES,
    full_report,
    sample_predictions,
    sample_report,
    uneven_curve,
)

if TYPE_CHECKING:
    from cxrlearn.reports.schema import RunReport
    from cxrlearn.reports.sections import Section


@pytest.fixture(scope="module")
def report() -> RunReport:
    return full_report({"test": sample_predictions()})


@pytest.fixture(scope="module")
def sections(report: RunReport) -> dict[str, Section]:
    found = (*set_sections(report.results[0]), *run_sections(report))
    return {section.title: section for section in found}


def test_every_row_is_as_wide_as_its_header(sections: dict[str, Section]) -> None:
    assert list(sections) == [
        "test: all metrics", "test: operating points", "test: metadata baseline and strata",
        "test: subgroups",
        "test: labels by sex", "test: labels by view", "Label efficiency",
        "What the backbone may have seen before", "Images", "How each label was fitted",
    ]  # fmt: skip
    for section in sections.values():
        assert section.rows
        assert {len(row) for row in section.rows} == {len(section.header)}, section.title


def test_plain_run_has_only_images_and_fit() -> None:
    plain = sample_report({"test": sample_predictions()})
    assert set_sections(plain.results[0]) == ()
    assert [one.title for one in run_sections(plain)] == ["Images", "How each label was fitted"]


def test_averages_stand_below_the_labels_with_every_metric(
    report: RunReport, sections: dict[str, Section]
) -> None:
    section = sections["test: all metrics"]
    assert section.header == (
        "label", "AUROC", "AP", "Brier", "ECE", "prevalence", "intercept", "slope",
    )  # fmt: skip
    rows = {row[0]: row[1:] for row in section.rows}
    assert list(rows) == [*NAMES, "macro", "weighted", "micro"]
    assert rows["macro"][0] == report.results[0].evaluation.macro
    weighted = rows["weighted"][0]
    assert isinstance(weighted, Estimate)
    assert weighted.value == 0.5
    prevalence, intercept, slope = rows[NAMES[0]][4:]
    assert prevalence == "24.6%"
    assert isinstance(intercept, Estimate)
    assert isinstance(slope, Estimate)
    assert (intercept.value, slope.value) == (0.12, 0.81)


def test_threshold_that_validation_could_not_choose_has_its_reason(
    sections: dict[str, Section],
) -> None:
    chosen, missing = sections["test: operating points"].rows[:2]
    assert chosen[:4] == (NAMES[0], "Youden", "0.401", "16 / 15 / 35 / 4")
    assert missing[1] == "sensitivity \N{GREATER-THAN OR EQUAL TO} 0.90"
    assert isinstance(missing[2], Estimate)
    assert missing[2].reason == "validation has 4 positives, fewer than 10"


def test_subgroup_of_three_images_is_shown_with_its_size(sections: dict[str, Section]) -> None:
    name, size, macro, averaged = sections["test: subgroups"].rows[1]
    assert (name, size, averaged) == ("sex: (blank)", "3 (1)", "4 of 6")
    assert isinstance(macro, Estimate)
    assert macro.reason == "no interval: all rows are of one patient"
    labels = sections["test: labels by sex"]
    assert labels.header[3:] == ("(blank): AUROC [95 % CI]", "positives / known")
    assert labels.rows[2][4] == "0 / 1"


def test_shortcuts_show_floor_and_strata_beside_the_auroc(
    report: RunReport, sections: dict[str, Section]
) -> None:
    section = sections["test: metadata baseline and strata"]
    assert section.header == ("label", "AUROC", "baseline (age, sex, view)", "within view, sex")
    assert [row[0] for row in section.rows] == [*NAMES, "macro"]
    first = report.results[0]
    for changed, last in (
        (replace(first, floor=None), "within view, sex"),
        (replace(first, within_strata=None), "baseline (age, sex, view)"),
    ):
        (alone,) = (one for one in set_sections(changed) if "baseline" in one.title)
        assert alone.header == ("label", "AUROC", last)


def test_curve_tells_its_spread_and_repeats_without_a_number(
    sections: dict[str, Section],
) -> None:
    first = sections["Label efficiency"].rows[0]
    assert first == ("test", "10 %", "10", "6", "0.580", "0.550 to 0.610", "2 of 3", "2")


def test_curve_names_the_labels_a_size_lacks_beside_a_macro_of_those_that_all_have(
    report: RunReport,
) -> None:
    section = run_sections(replace(report, curve=uneven_curve("test")))[0]
    found = [dict(zip(section.header[7:], row[7:], strict=True)) for row in section.rows]
    assert [row["labels"] for row in found] == ["1 of 2", "2", "2"]
    none = "\N{EN DASH}"
    assert [row["without (in repeats)"] for row in found] == [f"{NAMES[1]} (1 of 2)", none, none]
    assert [row["macro of the labels of all sizes"] for row in found] == ["0.580", "0.610", "0.650"]
    assert [row[4] for row in section.rows] == ["0.580", "0.680", "0.740"]


def test_fit_says_what_stopped_early_and_what_was_not_fitted(sections: dict[str, Section]) -> None:
    rows = {row[0]: row for row in sections["How each label was fitted"].rows}
    assert rows[NAMES[0]][3:] == ("1.5", "validation", "STOPPED EARLY")
    assert rows["Hernia"][5] == "not fitted: no positives among 100 known rows of train"


def test_fit_of_a_probe_without_c_has_no_column_for_it(report: RunReport) -> None:
    labels = tuple(
        replace(label, C=None, c_from=None, converged=None, gap=None)
        for label in report.probe.labels
    )
    changed = replace(report, probe=replace(report.probe, kind="knn", labels=labels))
    fit = run_sections(changed)[-1]
    assert fit.header == ("label", "positives", "negatives", "fit")
    assert fit.rows[0][3] == "fitted"


def test_certified_gap_is_shown_where_there_is_one(report: RunReport) -> None:
    first, *others = report.probe.labels
    labels = (replace(first, gap=3.2e-9), *others)
    changed = replace(report, probe=replace(report.probe, labels=labels))
    fit = run_sections(changed)[-1]
    assert fit.header[5] == "certified gap"
    assert [row[5] for row in fit.rows[:2]] == ["3e-09", "\N{EN DASH}"]
