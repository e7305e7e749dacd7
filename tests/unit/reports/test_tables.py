"""table.csv and table.md, read back by pandas and by a Markdown parser."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from cxrlearn.evaluation.results import Estimate
from cxrlearn.reports.findings import estimate_text
from cxrlearn.reports.tables import escape_markdown, table_markdown
from tests.support.run_reports import NAMES, full_report, sample_predictions, sample_report

if TYPE_CHECKING:
    from cxrlearn.reports.schema import RunReport


@pytest.fixture(scope="module")
def report() -> RunReport:
    return sample_report({"test": sample_predictions(), "ext | 1": sample_predictions(1)})


def _cells(markdown: str) -> list[list[str]]:
    """Return the text of every table cell, as a GitHub-flavoured parser shows it."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and token.map is not None and token.level == 4:
            parts = [child.content for child in token.children or ()]
            kinds = {child.type for child in token.children or ()}
            assert kinds <= {"text", "text_special", "strong_open", "strong_close"}, token.content
            rows[-1].append("".join(parts))
    return rows


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.8594, 0.8401, 0.8749), "0.859 [0.840, 0.875]"),
        ((1.0, 1.0, 1.0), "1.000 [1.000, 1.000]"),
        ((0.5, None, None), "0.500 [\N{EN DASH}]"),
        ((None, None, None), "\N{EN DASH}"),
    ],
)
def test_estimate_reads_as_in_a_paper(
    numbers: tuple[float | None, float | None, float | None], text: str
) -> None:
    assert estimate_text(Estimate(*numbers, "why", ())) == text


def test_markdown_shows_every_label_name_as_it_is(report: RunReport) -> None:
    rows = _cells(table_markdown(report))
    assert [row[0] for row in rows] == ["label", *NAMES, "macro"]
    assert [len(row) for row in rows] == [5] * (len(NAMES) + 2)
    assert rows[0][3:] == ["ext | 1: AUROC [95 % CI]", "ext | 1: positives / known"]


def test_markdown_holds_estimates_and_counts(report: RunReport) -> None:
    rows = _cells(table_markdown(report))
    label = report.results[0].evaluation.labels[1]
    assert rows[2][1].startswith(estimate_text(label.auroc))
    assert rows[2][2] == f"{label.positives} / {label.positives + label.negatives}"
    assert rows[-1][1].startswith(estimate_text(report.results[0].evaluation.macro))
    assert rows[-1][2] == "4 of 6 labels"


def test_undefined_is_a_dash_with_its_reason_in_a_footnote(report: RunReport) -> None:
    text = table_markdown(report)
    cell = _cells(text)[3][1]
    match = re.fullmatch(r"\N{EN DASH} \[\^(\d+)\]", cell)
    assert match is not None
    known = report.results[0].evaluation.labels[2].negatives
    assert f"[^{match[1]}]: no positives among {known} known rows\n" in text
    marks = set(re.findall(r"\[\^(\d+)\](?!:)", text))
    assert marks == set(re.findall(r"^\[\^(\d+)\]:", text, flags=re.MULTILINE))


def test_markdown_ends_with_protocol_and_warnings(report: RunReport) -> None:
    text = table_markdown(report)
    assert "- C was chosen on val by log-loss" in text
    assert "- Warning: 2 patients are both in train and in test\n" in text
    assert "not verified: no published hash" in text


def test_random_weights_stand_in_the_table(report: RunReport) -> None:
    backbone = replace(report.backbone, random_weights=0)
    assert "RANDOM WEIGHTS (seed 0)" in table_markdown(replace(report, backbone=backbone))


@pytest.mark.parametrize(
    "name",
    ["a_b", "_a_", "__a__", "a\\", "a\\|b", "&lt; & <b>", "[x](y)", "1 * 2 * 3", "~~a~~", "x\ny"],
)
def test_markdown_escapes_show_the_name(name: str) -> None:
    table = f"| {escape_markdown(name)} |\n| --- |\n"
    assert _cells(table) == [[name.replace("\n", " ")]]


def test_plain_names_stay_plain() -> None:
    assert escape_markdown("Pleural_Thickening (left) & 2/3") == "Pleural_Thickening (left) & 2/3"


@pytest.fixture(scope="module")
def full() -> RunReport:
    return full_report({"test": sample_predictions(), "ext | 1": sample_predictions(1)})


def test_what_the_set_can_tell_stands_before_the_ranking(full: RunReport) -> None:
    text = table_markdown(full)
    said = "test: minimum detectable difference 0.023"
    assert -1 < text.index(said) < text.index("| label |")
    assert text.index("exceeds the metadata baseline") > text.index("| label |")


def test_a_set_that_the_backbone_may_have_seen_is_marked_in_the_table(full: RunReport) -> None:
    text = table_markdown(full)
    assert "| test \N{DAGGER}: AUROC" in text
    assert "\N{DAGGER} test: images of the set come from NIH." in text
    assert text.count("\N{DAGGER}") == 3


def test_every_section_is_a_table_that_parses_with_one_width(full: RunReport) -> None:
    text = table_markdown(full)
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    per_set = ["all metrics", "operating points", "metadata baseline and strata", "subgroups"]
    expected = [f"## {name}: {title}" for name in ("test", r"ext \| 1") for title in per_set]
    more = ["## Label efficiency", "## What the backbone may have seen before"]
    assert headings == [*expected, *more]
    for part in text.split("\n## ")[1:]:
        widths = {len(row) for row in _cells(part.partition("\n\n[^1]")[0])}
        assert len(widths) == 1, part


def test_a_run_without_more_has_no_sections(report: RunReport) -> None:
    assert "## " not in table_markdown(report)


def test_footnotes_are_numbered_through_the_document(full: RunReport) -> None:
    text = table_markdown(full)
    assert text.count("]: validation has 4 positives, fewer than 10") == 1
    marks = set(re.findall(r"\[\^(\d+)\](?!:)", text))
    assert marks == set(re.findall(r"^\[\^(\d+)\]:", text, flags=re.MULTILINE))


def test_null_control_stands_first_and_loud(full: RunReport) -> None:
    lines = table_markdown(replace(full, null_control=True)).splitlines()
    assert lines[2].startswith(
        "**LABEL-PERMUTATION CONTROL: training labels were permuted by patient"
    )
