"""What the terminal shows of a run: restrained, and everything on request."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from cxrlearn.cli.tables import result_tables
from tests.support.run_reports import full_report, sample_predictions, sample_report

if TYPE_CHECKING:
    from cxrlearn.reports.schema import RunReport


@pytest.fixture(scope="module")
def report() -> RunReport:
    return full_report({"test": sample_predictions()})


def shown(report: RunReport, *, details: bool = False) -> str:
    console = Console(file=io.StringIO(), width=120, highlight=False)
    for part in result_tables(report, details=details):
        if isinstance(part, str):
            console.print(part, markup=False, soft_wrap=True)
        else:
            console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_main_table_has_auroc_precision_and_counts(report: RunReport) -> None:
    lines = shown(report).splitlines()
    title = next(number for number, line in enumerate(lines) if "AUROC [95 % interval]" in line)
    assert "on test \N{DAGGER}:" in lines[title]
    assert lines[title + 1].split() == ["label", "AUROC", "AP", "pos", "(patients)", "known"]
    label = report.results[0].evaluation.labels[0]
    known = label.positives + label.negatives
    assert lines[title + 2].split()[4:] == [
        "0.410", str(label.positives), str(label.positive_patients), str(known),
    ]  # fmt: skip
    macro = next(line for line in lines if line.startswith("macro, 4 labels"))
    assert macro.split()[-1] == "0.600"


def test_a_few_lines_below_say_what_the_set_can_tell(report: RunReport) -> None:
    text = shown(report)
    assert "test: minimum detectable difference 0.023" in text
    assert "exceeds the metadata baseline" in text
    assert "\N{DAGGER} test: images of the set come from NIH." in text
    assert "* Hernia: not fitted: no positives among 100 known rows of train" in text


def test_subgroups_and_operating_points_are_shown_on_request_only(report: RunReport) -> None:
    later = "What the backbone may have seen before"
    for part in ("test: subgroups", "view: PA <script>", "test: operating points", later):
        assert part not in shown(report)
        assert part in shown(report, details=True)
    assert "test: labels by sex" not in shown(report, details=True)


def test_curve_is_shown_where_one_was_asked_for(report: RunReport) -> None:
    without = replace(report, curve=())
    titles = [
        [line.strip() for line in shown(one, details=details).splitlines()]
        for one, details in ((report, False), (without, True))
    ]
    assert "Label efficiency" in titles[0]
    assert "Label efficiency" not in titles[1]


def test_report_of_before_has_no_column_for_what_it_lacks() -> None:
    plain = sample_report({"test": sample_predictions()})
    lines = shown(plain).splitlines()
    header = next(line for line in lines if line.startswith("label"))
    assert header.split() == ["label", "AUROC", "pos", "(patients)", "known"]


def test_null_control_comes_first(report: RunReport) -> None:
    assert shown(replace(report, null_control=True)).startswith("LABEL-PERMUTATION CONTROL")


def test_names_that_look_like_markup_are_shown_as_they_are(report: RunReport) -> None:
    labels = tuple(
        replace(label, name=f"[red]{number}[/red]")
        for number, label in enumerate(report.results[0].evaluation.labels)
    )
    result = replace(
        report.results[0], evaluation=replace(report.results[0].evaluation, labels=labels)
    )
    names = tuple(label.name for label in labels)
    fits = tuple(replace(one, name=n) for one, n in zip(report.probe.labels, names, strict=True))
    counts = tuple(
        replace(one, name=n) for one, n in zip(report.splits[0].labels, names, strict=True)
    )
    changed = replace(
        report,
        results=(result,),
        task=replace(report.task, labels=names),
        probe=replace(report.probe, labels=fits),
        splits=tuple(replace(split, labels=counts) for split in report.splits),
    )
    assert "[red]0[/red]" in shown(changed, details=True)
