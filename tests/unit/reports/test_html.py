"""report.html: one file, everything escaped, everything there, the same twice."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from cxrlearn.reports.html import page_html, report_html
from tests.support.run_reports import (
    NAMES,
    full_report,
    sample_predictions,
    sample_report,
    sample_training,
)

if TYPE_CHECKING:
    from cxrlearn.reports.schema import RunReport

SETS = {"test": sample_predictions(), "ext <script>": sample_predictions(1)}
PROVENANCE = {
    "created": "2026-01-02T03:04:05+00:00",
    "command": ["python", "<b>&"],
    "versions": {"numpy": "2.1"},
}
VOID = {"meta", "img", "wbr", "br"}


class Document(HTMLParser):
    """The elements of a page, checked for balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag in {"td", "th"}:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data


@pytest.fixture(scope="module")
def report() -> RunReport:
    return replace(full_report(SETS), name="<script>alert('x')</script>")


@pytest.fixture(scope="module")
def page(report: RunReport) -> str:
    return report_html(report, PROVENANCE, SETS, settings='[probe]\nname = "</pre><script>"\n')


def test_every_name_is_text_and_no_element_comes_from_one(page: str) -> None:
    document = Document(page)
    assert set(document.tags) <= {
        "html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section", "h1",
        "h2", "h3", "p", "ul", "ol", "li", "a", "div", "table", "thead", "tbody", "tr", "th", "td",
        "sup", "span", "figure", "img", "figcaption", "details", "summary", "dl", "dt", "dd", "pre",
        "wbr",
    }  # fmt: skip
    assert set(NAMES) <= set(document.cells)
    assert "<script>alert('x')</script>" in document.texts
    assert '[probe]\nname = "</pre><script>"\n' in document.texts
    assert "python <b>&" in document.texts
    assert not any(name.startswith("on") for name, _ in document.attributes)


def test_nothing_is_loaded_from_outside(page: str) -> None:
    for name, value in Document(page).attributes:
        if name in {"src", "href", "srcset", "action", "data", "poster"}:
            assert value is not None
            assert value.startswith(("data:image/svg+xml;base64,", "#"))
    assert not re.search(r"url\(|@import", page)
    assert "default-src 'none'" in page


def test_contents_notes_and_their_links_fit_together(page: str) -> None:
    attributes = Document(page).attributes
    targets = [value for name, value in attributes if name == "id"]
    links = {value for name, value in attributes if name == "href"}
    assert len(set(targets)) == len(targets)
    assert {f"#{target}" for target in targets} == links


def test_numbers_sentences_and_provenance_are_all_there(report: RunReport, page: str) -> None:
    document = Document(page)
    text = " ".join(document.texts)
    first = report.results[0].evaluation.labels[0].auroc
    assert first.low is not None
    assert f"{first.value:.3f}  [{first.low:.3f}, {first.high:.3f}]" in text
    for part in (
        "test: minimum detectable", "exceeds the metadata baseline", "C was chosen on val",
        "Warning: 2 patients are both in train and in test", "cd" * 32, "ab" * 32, "2.1",
        "2026-01-02T03:04:05+00:00", "test: labels by sex", "How each label was fitted",
        "no positives among 67 known rows",
    ):  # fmt: skip
        assert part in text, part
    assert document.tags.count("img") == 8


def test_same_run_gives_the_same_page(report: RunReport, page: str) -> None:
    again = report_html(report, PROVENANCE, SETS, settings='[probe]\nname = "</pre><script>"\n')
    assert again == page


def test_plain_run_without_figures_is_a_whole_page() -> None:
    document = Document(page_html(sample_report(SETS), {}, {}))
    assert "img" not in document.tags
    assert "metadata baseline and strata" not in " ".join(document.texts)


@pytest.mark.parametrize("loud", ["LABEL-PERMUTATION CONTROL", "RANDOM WEIGHTS (seed 3)"])
def test_numbers_that_say_nothing_of_the_backbone_are_announced_first(
    report: RunReport, loud: str
) -> None:
    backbone = replace(report.backbone, random_weights=3)
    page = page_html(replace(report, null_control=True, backbone=backbone), {}, {})
    assert -1 < page.index('<p class="alarm">' + loud) < page.index("<table>")


def test_the_page_of_a_finetuned_run_shows_how_it_learned(report: RunReport) -> None:
    trained = replace(report, command="finetune", finetune=sample_training())
    document = Document(report_html(trained, PROVENANCE, {}))
    assert "Training" in document.texts
    alternatives = [value for name, value in document.attributes if name == "alt"]
    assert alternatives == [f"learning of {report.name}; its numbers stand in history.csv"]
    assert "its head started as the logistic regression" in " ".join(document.texts)
    assert "of epoch 2, validation macro AUROC 0.790" in document.texts
    assert "3, all of them" in document.texts
