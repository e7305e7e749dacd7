"""A comparison as Markdown for people and as CSV for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.reports.csvtext import csv_text
from cxrlearn.reports.grids import comparison_grids, comparison_notes
from cxrlearn.reports.tables import escape_markdown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxrlearn.evaluation.results import Difference
    from cxrlearn.reports.comparison import ComparedRow, ComparedSet, ComparisonReport
    from cxrlearn.reports.grids import Grid, GridCell

COLUMNS = (
    "set", "row", "label", "kind", "run", "against", "value", "low", "high", "best", "like_best",
    "standard_error", "t", "degrees_of_freedom", "p", "p_holm", "images", "patients",
    "positives_least", "positives_most", "random_weights", "null_control", "reason", "cautions",
    "detectable",
)  # fmt: skip
"""Columns of the CSV."""


def comparison_markdown(report: ComparisonReport) -> str:
    """Return the tables and the notes."""
    parts = ["# Comparison"]
    for grid in comparison_grids(report):
        parts += [f"## {escape_markdown(grid.title)}", _table(grid)]
    parts.append("\n".join(f"- {escape_markdown(note)}" for note in comparison_notes(report)))
    return "\n\n".join(parts) + "\n"


def _table(grid: Grid) -> str:
    rule = ["---"] * grid.names + ["---:"] * (len(grid.header) - grid.names)
    rows = [[escape_markdown(heading) for heading in grid.header], rule]
    rows += [[_cell(cell) for cell in row.cells] for row in grid.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cell: GridCell) -> str:
    text = escape_markdown(cell.text)
    marks = f" {escape_markdown(cell.marks)}" if cell.marks else ""
    return f"**{text}**{marks}" if cell.bold else text + marks


def comparison_csv(report: ComparisonReport) -> str:
    """Return a row for every number, unrounded: each run's AUROC, then every pair's difference.

    `kind` tells the two apart, `auroc` or `difference`; `row` is `label` or `macro`.
    """
    rows = [row for one in report.sets for row in (*_aurocs(report, one), *_differences(one))]
    return csv_text([COLUMNS, *([row[column] for column in COLUMNS] for row in rows)])


def _aurocs(report: ComparisonReport, one: ComparedSet) -> Iterator[dict[str, str]]:
    for row in (*one.labels, one.macro):
        for run, estimate in zip(report.runs, row.estimates, strict=True):
            if estimate is None:
                continue
            yield _blank(one, row.label) | {
                "kind": "auroc",
                "run": run.name,
                "value": _number(estimate.value),
                "low": _number(estimate.low),
                "high": _number(estimate.high),
                "best": _flag(yes=run.name == row.best),
                "like_best": _flag(yes=run.name in row.like_best),
                "random_weights": "" if run.random_weights is None else str(run.random_weights),
                "null_control": _flag(yes=run.null_control),
                "reason": estimate.reason or "",
                "cautions": "; ".join(estimate.cautions),
                **_counts(one, row),
            }


def _counts(one: ComparedSet, row: ComparedRow) -> dict[str, str]:
    return {
        "images": str(one.images),
        "patients": "" if one.patients is None else str(one.patients),
        "positives_least": str(row.positives[0]),
        "positives_most": str(row.positives[1]),
    }


def _differences(one: ComparedSet) -> Iterator[dict[str, str]]:
    if one.comparison is None:
        return
    for pair in one.comparison.pairs:
        cautions = "; ".join(pair.macro.cautions)
        named = {"run": pair.first, "against": pair.second, "cautions": cautions}
        yield _blank(one, None) | named | _test(pair.macro, pair.adjusted_p)
    for tested in one.comparison.labels:
        named = {
            "run": tested.first,
            "against": tested.second,
            "cautions": "; ".join(tested.auroc.cautions),
        }
        yield _blank(one, tested.label) | named | _test(tested.auroc, tested.adjusted_p)


def _test(found: Difference, adjusted: float | None) -> dict[str, str]:
    return {
        "kind": "difference",
        "value": _number(found.difference),
        "low": _number(found.low),
        "high": _number(found.high),
        "standard_error": _number(found.standard_error),
        "t": _number(found.t),
        "degrees_of_freedom": _number(found.degrees_of_freedom),
        "p": _number(found.p_value),
        "p_holm": _number(adjusted),
        "detectable": _number(found.detectable),
        "reason": found.reason or "",
    }


def _blank(one: ComparedSet, label: str | None) -> dict[str, str]:
    row = dict.fromkeys(COLUMNS, "")
    return row | {
        "set": one.name,
        "row": "macro" if label is None else "label",
        "label": label or "",
    }


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _flag(*, yes: bool) -> str:
    return "1" if yes else "0"
