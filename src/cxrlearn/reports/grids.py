"""A comparison as tables of plain cells and sentences: each format only draws them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.reports.findings import DAGGER, MISSING, and_list, estimate_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxrlearn.evaluation.results import Difference, Estimate
    from cxrlearn.reports.comparison import ComparedRow, ComparedSet, ComparisonReport

DOUBLE_DAGGER = "\N{DOUBLE DAGGER}"
"""What marks a number of a backbone that may have seen the set."""
REMARK = "*"
"""What marks a number with a reason or a caution among the notes."""
_COUNTS = ("images", "patients", "positives")
"""What stands behind the numbers of a data set."""
_TESTED = ("difference [95 % interval]", "p", "p (Holm)", "MDD")
"""What is said of a test."""


@dataclass(frozen=True)
class GridCell:
    """One cell."""

    text: str
    """What it says."""
    bold: bool = False
    """The best of its row."""
    marks: str = ""
    """Daggers and an asterisk behind the text; the notes explain them."""


@dataclass(frozen=True)
class GridRow:
    """One row."""

    cells: tuple[GridCell, ...]
    """As many as there are headings."""
    rule: bool = False
    """A line stands above it: another data set begins."""


@dataclass(frozen=True)
class Grid:
    """One table."""

    title: str
    """What it shows."""
    header: tuple[str, ...]
    """The columns' headings."""
    names: int
    """The first so many columns hold names; all others hold numbers."""
    rows: tuple[GridRow, ...]
    """At least one."""


def comparison_grids(report: ComparisonReport) -> tuple[Grid, ...]:
    """Return the table of results, then that of tests, then that of tests by label if wanted."""
    grids = [_results(report)]
    if any(one.comparison is not None and one.comparison.pairs for one in report.sets):
        grids.append(_tests(report))
        if report.by_label:
            grids.append(_label_tests(report))
    return tuple(grids)


# --- Results


def _results(report: ComparisonReport) -> Grid:
    names = ("data set", "label") if report.by_label else ("data set",)
    headings = tuple(run.heading for run in report.runs)
    rows = [
        GridRow(tuple(cells), rule=number == 0 and place > 0)
        for place, one in enumerate(report.sets)
        for number, cells in enumerate(_set_rows(report, one))
    ]
    what = "AUROC" if report.by_label else "Macro AUROC"
    return Grid(
        f"{what} [95 % interval]",
        (*names, *headings, *_COUNTS),
        len(names),
        tuple(rows),
    )


def _set_rows(report: ComparisonReport, one: ComparedSet) -> Iterator[list[GridCell]]:
    patients = MISSING if one.patients is None else f"{one.patients:,}"
    shown = [*one.labels, one.macro] if report.by_label else [one.macro]
    for row in shown:
        names = [one.name, row.label or _macro_name(one)] if report.by_label else [one.name]
        counts = [f"{one.images:,}", patients, _positives(row)]
        cells = [_result(report, one, row, place) for place in range(len(report.runs))]
        yield [*map(GridCell, names), *cells, *map(GridCell, counts)]


def _macro_name(one: ComparedSet) -> str:
    count = len(one.macro_labels)
    return f"macro, {count} label{'' if count == 1 else 's'}"


def _positives(row: ComparedRow) -> str:
    least, most = row.positives
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _result(report: ComparisonReport, one: ComparedSet, row: ComparedRow, place: int) -> GridCell:
    run, estimate = report.runs[place], row.estimates[place]
    if estimate is None:
        return GridCell(MISSING)
    marks = (DAGGER if run.name in row.like_best else "") + (
        DOUBLE_DAGGER if run.name in one.seen else ""
    )
    remarked = REMARK if estimate.reason or estimate.cautions else ""
    return GridCell(estimate_text(estimate), run.name == row.best, marks + remarked)


def long_results(report: ComparisonReport) -> Grid:
    """Return the table of results with a row for each run, for screens too narrow for columns."""
    wide = _results(report)
    names, end = wide.names, wide.names + len(report.runs)
    rows = []
    for row in wide.rows:
        for place, run in enumerate(report.runs):
            cells = row.cells if place == 0 else (GridCell(""),) * len(row.cells)
            number = row.cells[names + place]
            cells = (*cells[:names], GridCell(run.heading), number, *cells[end:])
            rows.append(GridRow(cells, row.rule and place == 0))
    header = (*wide.header[:names], "run", "AUROC", *_COUNTS)
    return Grid(wide.title, header, names + 1, tuple(rows))


def without_single_set(grid: Grid) -> Grid:
    """Leave out the column of data sets where there is only one, for screens: the notes name it."""
    sets = {row.cells[0].text for row in grid.rows} - {""}
    if grid.names < 2 or len(sets) > 1 or grid.header[0] != "data set":
        return grid
    rows = tuple(GridRow(row.cells[1:], row.rule) for row in grid.rows)
    return Grid(grid.title, grid.header[1:], grid.names - 1, rows)


# --- Tests


def _tests(report: ComparisonReport) -> Grid:
    rows = [
        (one.name, pair.first, pair.second, *_test(pair.macro, pair.adjusted_p))
        for one in report.sets
        if one.comparison is not None
        for pair in one.comparison.pairs
    ]
    header = ("data set", "run", "minus", *_TESTED)
    return Grid("Differences of the macro AUROC", header, 3, _plain_rows(rows))


def _label_tests(report: ComparisonReport) -> Grid:
    rows = [
        (one.name, pair.label, pair.first, pair.second, *_test(pair.auroc, pair.adjusted_p))
        for one in report.sets
        if one.comparison is not None
        for pair in one.comparison.labels
    ]
    header = ("data set", "label", "run", "minus", *_TESTED)
    return Grid("Differences by label, exploratory", header, 4, _plain_rows(rows))


def _plain_rows(rows: list[tuple[str, ...]]) -> tuple[GridRow, ...]:
    before = ["", *(row[0] for row in rows)]
    return tuple(
        GridRow(tuple(map(GridCell, row)), rule=row[0] != before[place] and place > 0)
        for place, row in enumerate(rows)
    )


def _test(found: Difference, adjusted: float | None) -> tuple[str, ...]:
    return (
        _difference_text(found.difference, found.low, found.high),
        p_text(found.p_value),
        p_text(adjusted),
        MISSING if found.detectable is None else f"{found.detectable:.3f}",
    )


def _difference_text(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return MISSING
    limits = MISSING if low is None or high is None else f"{low:+.3f}, {high:+.3f}"
    return f"{value:+.3f} [{limits}]"


def p_text(p_value: float | None) -> str:
    """Return a p-value as papers print it."""
    if p_value is None:
        return MISSING
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


# --- Sentences


def comparison_notes(report: ComparisonReport) -> tuple[str, ...]:
    """Return every sentence that belongs under the tables."""
    return (
        *report.sentences,
        *_about_runs(report),
        *_about_marks(report),
        *(_about_macro(one) for one in report.sets),
        *_about_tests(report),
        *_remarks(report),
    )


def _about_runs(report: ComparisonReport) -> Iterator[str]:
    for run in report.runs:
        if run.random_weights is not None:
            yield (
                f"{run.name}: RANDOM WEIGHTS (seed {run.random_weights}): its numbers say nothing "
                f"about {run.backbone}, and it is never called the best."
            )
        if run.null_control:
            yield (
                f"{run.name}: LABEL-PERMUTATION CONTROL: training labels were permuted by patient, "
                "its AUROC should be near 0.5, and it is never called the best."
            )


def _about_marks(report: ComparisonReport) -> Iterator[str]:
    rows = [one.macro for one in report.sets if len(one.runs) > 1]
    if any(row.best is not None for row in rows):
        yield "Bold: the highest of its row."
    if any(row.like_best for one in report.sets for row in (one.macro, *one.labels)):
        yield (
            f"{DAGGER} Not distinguishable from the highest of its row: Holm-adjusted p of the "
            "difference at least 0.05, or no test. That does not show that the two are equal."
        )
    if any(one.seen for one in report.sets):
        yield (
            f"{DOUBLE_DAGGER} The backbone's pretraining may hold images of this set: the number "
            "can be too high."
        )
    for one in report.sets:
        if len(one.runs) == 1 and len(report.runs) > 1:
            yield f"{one.name}: only {one.runs[0]} is on these images, so nothing is tested."
    if len(report.runs) == 1:
        yield "One run only: nothing is compared and nothing is tested."


def _about_macro(one: ComparedSet) -> str:
    left_out = tuple(row.label or "" for row in one.labels if row.label not in one.macro_labels)
    count, of = len(one.macro_labels), len(one.labels)
    if not left_out:
        return f"{one.name}: macro over all {of} labels." if of > 1 else f"{one.name}: one label."
    return (
        f"{one.name}: macro over {count} of {of} labels, without {and_list(left_out)} (one class "
        "only, or without scores in some run)."
    )


def _about_tests(report: ComparisonReport) -> Iterator[str]:
    tested = [
        (one, one.comparison)
        for one in report.sets
        if one.comparison is not None and one.comparison.pairs
    ]
    for one, found in tested:
        yield (
            f"{one.name}: difference / standard error by Student's t, from the jackknife over "
            f"{found.unit}s, who leave both runs together; p-values {found.family}."
        )
        if report.by_label:
            yield f"{one.name}, by label: the same test; {found.exploratory}."
    if any(run.null_control for run in report.runs) and tested:
        yield (
            "Pairs with a label-permutation control are in no family of tests: no claim is made "
            "of them."
        )
    if tested:
        yield (
            "MDD: minimum detectable difference, the true difference that a pair's test finds with "
            "80 % power (2.80 standard errors). An observed difference is judged by its interval "
            "and p-value, not by the MDD."
        )


def _remarks(report: ComparisonReport) -> Iterator[str]:
    """Yield every reason and caution once, with the numbers it is about."""
    about: dict[str, dict[str, list[str]]] = {}
    for one in report.sets:
        for row in (*one.labels, one.macro) if report.by_label else (one.macro,):
            place = one.name if row.label is None else f"{row.label} on {one.name}"
            for run, estimate in zip(report.runs, row.estimates, strict=True):
                for remark in _remarks_of(estimate):
                    about.setdefault(remark, {}).setdefault(place, []).append(run.name)
        for pair in one.comparison.pairs if one.comparison is not None else ():
            if pair.macro.reason is not None:
                pairs = about.setdefault(pair.macro.reason, {}).setdefault(one.name, [])
                pairs.append(f"{pair.first} against {pair.second}")
    for remark, places in about.items():
        where = "; ".join(f"{place} ({', '.join(runs)})" for place, runs in places.items())
        yield f"{REMARK} {where}: {remark}."


def _remarks_of(estimate: Estimate | None) -> tuple[str, ...]:
    if estimate is None:
        return ()
    return tuple(filter(None, (estimate.reason, *estimate.cautions)))
