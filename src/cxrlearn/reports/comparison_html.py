"""A comparison as one HTML file that opens offline, with nothing to load and no script."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from cxrlearn.reports.grids import comparison_grids, comparison_notes

if TYPE_CHECKING:
    from cxrlearn.reports.comparison import ComparisonReport
    from cxrlearn.reports.grids import Grid, GridCell, GridRow

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What the file may load, said to the browser: nothing but what it holds."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #57606a; --paper: #fff; --line: #b9c1c9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #a2acb6; --paper: #14181c; --line: #4a545e; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 75rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0.5rem 0; }
.scroll { overflow-x: auto; margin: 1.6rem 0; }
.scroll:focus-visible { outline: 2px solid currentColor; outline-offset: 4px; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; border-top: 2px solid var(--ink); border-bottom: 2px solid var(--ink); }
caption { caption-side: top; text-align: left; padding: 0 0.6rem 0.4rem; font-weight: 600; }
th, td { padding: 0.3rem 0.6rem; text-align: right; vertical-align: top; white-space: nowrap; }
th { font-weight: 600; }
thead th { vertical-align: bottom; border-bottom: 1px solid var(--ink); white-space: normal; }
.name { text-align: left; white-space: normal; min-width: 6rem; overflow-wrap: anywhere; }
tbody th { font-weight: 400; position: sticky; left: 0; background: var(--paper); }
thead th:first-child { position: sticky; left: 0; background: var(--paper); }
tr.rule > * { border-top: 1px solid var(--line); }
sup { line-height: 0; }
ul { padding-left: 1.2rem; color: var(--soft); font-size: 0.9rem; }
li { margin: 0.3rem 0; }
.ci { color: var(--soft); font-weight: 400; }
@media (max-width: 30rem) {
  th, td { padding: 0.25rem 0.45rem; }
  .ci { display: block; }
  .name { min-width: 4.5rem; max-width: 7rem; }
}
@media print { :root { --ink: #000; --soft: #333; --paper: #fff; --line: #999; }
  .scroll { overflow: visible; } th, td { white-space: normal; } tr { break-inside: avoid; } }
"""
"""Rules as in a printed table: above, below, and between data sets."""


def comparison_html(report: ComparisonReport) -> str:
    """Return the page: the tables, then the notes. Every name is escaped."""
    tables = "\n".join(map(_table, comparison_grids(report)))
    notes = "".join(f"<li>{escape(note)}</li>" for note in comparison_notes(report))
    title = "Comparison of " + ", ".join(run.name for run in report.runs)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<main>\n<h1>Comparison</h1>\n{tables}\n<ul>{notes}</ul>\n</main>\n</body>\n</html>\n"
    )


def _table(grid: Grid) -> str:
    head = "".join(
        f'<th scope="col"{_name(place, grid)}>{escape(heading)}</th>'
        for place, heading in enumerate(grid.header)
    )
    body = "\n".join(_row(row, grid) for row in grid.rows)
    # Focus lets the keyboard scroll a table that is wider than the screen.
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(grid.title)}">'
        f"<table><caption>{escape(grid.title)}</caption>"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(row: GridRow, grid: Grid) -> str:
    kind = ' class="rule"' if row.rule else ""
    cells: list[str] = []
    for place, cell in enumerate(row.cells):
        first, last = ('<th scope="row"', "</th>") if place == 0 else ("<td", "</td>")
        text = _text(cell, name=place < grid.names)
        cells.append(f"{first}{_name(place, grid)}>{text}{last}")
    return f"<tr{kind}>{''.join(cells)}</tr>"


def _text(cell: GridCell, *, name: bool) -> str:
    """Escape a cell; the limits of a number may stand below it."""
    value, bracket, limits = (cell.text, "", "") if name else cell.text.partition(" [")
    value = f"<strong>{escape(value)}</strong>" if cell.bold else escape(value)
    marks = f"<sup>{escape(cell.marks)}</sup>" if cell.marks else ""
    interval = f' <span class="ci">[{escape(limits)}</span>' if bracket else ""
    return value + marks + interval


def _name(place: int, grid: Grid) -> str:
    return ' class="name"' if place < grid.names else ""
