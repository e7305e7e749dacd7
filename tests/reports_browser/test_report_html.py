"""report.html in a real browser: nothing loaded, nothing said, nothing wider than a phone.

Screenshots stay in `$CXRLEARN_SCREENSHOTS`, where that names a folder, for people to look at.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cxrlearn.reports.html import report_html
from tests.reports_browser.browser import chromium
from tests.support.run_reports import NAMES, full_report, sample_predictions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.reports_browser.browser import Page

SIZES = {"phone": (390, 844), "small-phone": (320, 640), "desktop": (1280, 900)}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BOXES = (
    "[...document.querySelectorAll('.scroll')].filter(b => b.scrollWidth > b.clientWidth).length"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sets = {"test": sample_predictions(), "ext/1 <script>alert(2)</script>": sample_predictions(1)}
    run = replace(full_report(sets), name="<script>alert(1)</script>", null_control=True)
    made = {"created": "2026-01-02T03:04:05+00:00", "command": ["x" * 300, "<img src=http://a/b>"]}
    path = tmp_path_factory.mktemp("run") / "report.html"
    path.write_text(report_html(run, made, sets, settings="[probe]\n"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    kept = os.environ.get("CXRLEARN_SCREENSHOTS")
    return Path(kept) if kept else tmp_path


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_requested_and_nothing_is_said_on_the_console(
    page: Page, report: Path, size: str
) -> None:
    page.open(report, *SIZES[size])
    outside = [url for url in page.requests() if not url.startswith("data:image/svg+xml")]
    assert outside == [report.as_uri()]
    assert page.complaints() == []


@pytest.mark.parametrize("size", SIZES)
def test_tables_scroll_in_their_box_and_the_page_does_not(
    page: Page, report: Path, size: str
) -> None:
    page.open(report, *SIZES[size])
    assert page.evaluate("window.innerWidth") == SIZES[size][0]
    assert page.evaluate(OVERFLOW) == 0
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert page.evaluate(OVERFLOW) == 0
    if size != "desktop":
        assert page.evaluate(BOXES) > 0


def test_every_figure_is_drawn_and_every_name_is_shown(page: Page, report: Path) -> None:
    page.open(report, *SIZES["desktop"])
    widths = page.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert len(widths) == 8
    assert min(widths) > 100
    shown = page.evaluate(
        "[...document.querySelectorAll('#results tbody th')].map(c => c.innerText)"
    )
    assert shown == [*NAMES, "macro"]
    assert page.evaluate("document.querySelector('h1').innerText") == "<script>alert(1)</script>"
    assert page.evaluate("document.scripts.length") == 0


def test_links_of_the_contents_and_of_notes_lead_somewhere(page: Page, report: Path) -> None:
    page.open(report, *SIZES["desktop"])
    lost = "[...document.links].filter(a => !document.querySelector(a.getAttribute('href'))).length"
    assert page.evaluate(lost) == 0
    assert page.evaluate("document.links.length") > 10


def test_dark_is_dark_with_light_figures(page: Page, report: Path) -> None:
    page.open(report, *SIZES["desktop"], dark=True)
    style = "getComputedStyle(document.querySelector('{}')).backgroundColor"
    assert page.evaluate(style.format("body")) == "rgb(20, 24, 28)"
    assert page.evaluate(style.format("figure img")) == "rgb(255, 255, 255)"
    page.open(report, *SIZES["desktop"])
    assert page.evaluate(style.format("body")) == "rgb(255, 255, 255)"


def test_screenshots_and_print_can_be_taken(page: Page, report: Path, pictures: Path) -> None:
    for name, size in SIZES.items():
        page.open(report, *size)
        assert page.screenshot(pictures / f"{name}.png").startswith(b"\x89PNG")
    page.open(report, *SIZES["desktop"], dark=True)
    assert page.screenshot(pictures / "dark.png").startswith(b"\x89PNG")
    assert page.printed(pictures / "print.pdf").startswith(b"%PDF")
