"""A comparison as tables, sentences, Markdown, CSV, HTML and JSON."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from cxrlearn.reports.comparison import comparison_document
from cxrlearn.reports.comparison_html import comparison_html
from cxrlearn.reports.comparison_text import COLUMNS, comparison_csv, comparison_markdown
from cxrlearn.reports.findings import MISSING
from cxrlearn.reports.grids import (
    comparison_grids,
    comparison_notes,
    long_results,
    p_text,
)
from tests.support.comparisons import AWKWARD, LABELS, RUNS, sample_comparison

# ---- tables --------------------------------------------------------------------------------------


def test_without_labels_there_is_one_row_a_set_and_no_exploratory_table() -> None:
    results, tests = comparison_grids(sample_comparison(by_label=False))
    assert results.header[0] == "data set"
    assert results.header[-3:] == ("images", "patients", "positives")
    assert [row.cells[0].text for row in results.rows] == ["test", f"ext {AWKWARD}", "alone"]
    assert results.title.startswith("Macro AUROC")
    assert len(tests.rows) == 3 + 1


def test_with_labels_the_macro_follows_them_and_says_what_it_averages() -> None:
    results, _, by_label = comparison_grids(sample_comparison())
    assert [row.cells[1].text for row in results.rows[:3]] == [*LABELS, "macro, 1 label"]
    assert "exploratory" in by_label.title
    assert len(by_label.rows) == 2 * 3 + 2 * 1


def test_every_row_has_a_cell_for_every_heading() -> None:
    report = sample_comparison()
    for grid in (*comparison_grids(report), long_results(report)):
        assert all(len(row.cells) == len(grid.header) for row in grid.rows)


def test_best_is_bold_and_equals_have_a_dagger() -> None:
    macro = comparison_grids(sample_comparison(by_label=False))[0].rows[0].cells[1:4]
    assert [cell.bold for cell in macro] == [False, True, False]
    assert [cell.marks for cell in macro] == ["†", "", ""]


def test_missing_runs_have_a_dash_and_reasons_a_mark_and_a_note() -> None:
    report = sample_comparison()
    results = comparison_grids(report)[0]
    assert results.rows[3].cells[4].text == MISSING
    undefined = results.rows[1].cells[2]
    assert (undefined.text, undefined.marks) == (MISSING, "†*")
    note = next(note for note in comparison_notes(report) if "no positives" in note)
    assert note.startswith(f"* {AWKWARD} on test (run-1); ")


def test_a_line_stands_between_data_sets_only() -> None:
    for grid in comparison_grids(sample_comparison()):
        for before, row in zip(grid.rows, grid.rows[1:], strict=False):
            assert row.rule == (row.cells[0].text != before.cells[0].text)
        assert not grid.rows[0].rule


def test_long_form_holds_every_number_of_the_wide_one() -> None:
    report = sample_comparison()
    wide, long = comparison_grids(report)[0], long_results(report)
    numbers = [cell for row in wide.rows for cell in row.cells[2:5]]
    assert [row.cells[3] for row in long.rows] == numbers
    assert [row.cells[2].text for row in long.rows[:3]] == [run.heading for run in report.runs]


@pytest.mark.parametrize(
    ("value", "text"), [(None, MISSING), (0.0004, "<0.001"), (0.001, "0.001"), (1.0, "1.000")]
)
def test_p_values_as_papers_print_them(value: float | None, text: str) -> None:
    assert p_text(value) == text


# ---- sentences -----------------------------------------------------------------------------------


def test_notes_say_what_a_reader_has_to_know() -> None:
    text = "\n".join(comparison_notes(sample_comparison()))
    for part in (
        "first: a & b differ.",
        "RANDOM WEIGHTS (seed 7)",
        "† Not distinguishable",
        "‡ The backbone's pretraining",
        "alone: only run-1 is on these images, so nothing is tested.",
        f"test: macro over 1 of 2 labels, without {AWKWARD}",
        "MDD: minimum detectable difference",
        "Holm-adjusted over 3 pairs",
        "exploratory",
    ):
        assert part in text


def test_exploratory_tests_are_spoken_of_only_where_they_are_shown() -> None:
    assert "exploratory" not in "\n".join(comparison_notes(sample_comparison(by_label=False)))


# ---- formats -------------------------------------------------------------------------------------


def test_markdown_tables_show_names_exactly() -> None:
    tokens = (
        MarkdownIt("commonmark").enable("table").parse(comparison_markdown(sample_comparison()))
    )
    cells = ["".join(child.content for child in token.children or ()) for token in tokens
             if token.type == "inline"]  # fmt: skip
    for name in ("run-1", f"{RUNS[2]} (random weights)", AWKWARD, f"ext {AWKWARD}"):
        assert name in cells
    assert sum(token.type == "table_open" for token in tokens) == 3


def test_csv_has_a_row_for_every_number() -> None:
    report = sample_comparison()
    rows = list(csv.DictReader(io.StringIO(comparison_csv(report))))
    assert tuple(rows[0]) == COLUMNS
    aurocs = [row for row in rows if row["kind"] == "auroc"]
    assert len(aurocs) == 3 * (3 + 2 + 1)
    assert {row["run"] for row in aurocs} == set(RUNS)
    assert sum(row["kind"] == "difference" for row in rows) == 3 * 3 + 3 * 1
    best = [row for row in aurocs if row["best"] == "1"]
    assert all(row["like_best"] == "0" for row in best)
    assert {row["random_weights"] for row in aurocs if row["run"] == RUNS[2]} == {"7"}


class _Page(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_html_is_whole_escaped_and_loads_nothing() -> None:
    page = _Page()
    page.feed(comparison_html(sample_comparison()))
    assert not page.open
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert not {"src", "href", "onclick", "onload"} & page.attributes
    assert page.tags.count("table") == 3
    assert AWKWARD in page.text
    assert "strong" in page.tags


def test_html_knows_phones_and_the_dark() -> None:
    text = comparison_html(sample_comparison())
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert "default-src 'none'" in text


def test_json_is_versioned_and_plain() -> None:
    report = sample_comparison()
    document = comparison_document(report)
    assert document["schema_version"] == 1
    assert {"runs", "sets", "by_label", "sentences"} <= set(document)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["sets"][0]["macro"]["best"] == AWKWARD
    assert document["sets"][2]["comparison"] is None
