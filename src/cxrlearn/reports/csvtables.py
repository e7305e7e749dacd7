"""The tables of a run for machines: table.csv, a row a label; metrics.csv, a row a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.reports.csvtext import csv_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxrlearn.evaluation.results import Estimate, Evaluation, LabelResult
    from cxrlearn.reports.schema import RunReport, SetReport

MACRO = "macro"
"""`row` of the average in table.csv."""
_METRICS = ("average_precision", "brier", "calibration_error")

COLUMNS = (
    "set", "row", "label", "auroc", "low", "high", "positives", "negatives", "masked",
    "positive_patients", "negative_patients", "unit", "clusters",
    "reason", "cautions",
    *(f"{metric}{part}" for metric in _METRICS for part in ("", "_low", "_high")),
)  # fmt: skip
"""Columns of table.csv."""

METRIC_COLUMNS = (
    "set", "column", "group", "row", "label", "metric", "rule", "value", "low", "high",
    "reason", "cautions",
)  # fmt: skip
"""Columns of metrics.csv."""


CURVE_COLUMNS = (
    "set", "kind", "size", "repeat", "training_images", "training_patients", "macro", "labels",
    "without", "common_macro", "common_labels",
)  # fmt: skip
"""Columns of curve.csv."""


def table_csv(report: RunReport) -> str:
    """Return one row for each set and label, and one with the macro of each set, unrounded.

    `row` tells the two kinds apart: `label` or `macro`. In a macro row `label` is blank. Columns
    are only ever added at the end.
    """
    rows: list[tuple[str, ...]] = [COLUMNS]
    for result in report.results:
        evaluation = result.evaluation
        for label in evaluation.labels:
            counts = (
                label.positives, label.negatives, label.masked,
                label.positive_patients, label.negative_patients,
            )  # fmt: skip
            cells = _auroc(label.auroc, tuple(map(str, counts)), evaluation)
            others = [getattr(label, metric) for metric in _METRICS]
            rows.append((result.name, "label", label.name, *cells, *_limits(others)))
        cells = _auroc(evaluation.macro, ("",) * 5, evaluation)
        macro = {one.metric: one.estimate for one in evaluation.averages if one.average == MACRO}
        others = [macro.get(metric) for metric in _METRICS]
        rows.append((result.name, MACRO, "", *cells, *_limits(others)))
    return csv_text(rows)


def _auroc(estimate: Estimate, counts: tuple[str, ...], evaluation: Evaluation) -> tuple[str, ...]:
    return (
        *_limits([estimate]),
        *counts,
        evaluation.unit,
        str(evaluation.clusters),
        estimate.reason or "",
        "; ".join(estimate.cautions),
    )


def _limits(estimates: list[Estimate | None]) -> tuple[str, ...]:
    """Return value, low and high of each, blank where there is none."""
    numbers: list[float | None] = []
    for one in estimates:
        numbers += (None, None, None) if one is None else (one.value, one.low, one.high)
    return tuple("" if number is None else repr(number) for number in numbers)


@dataclass(frozen=True)
class _Place:
    """Where a number belongs: the first columns of metrics.csv."""

    set_name: str
    column: str = ""
    group: str = ""
    row: str = "label"
    label: str = ""


def metrics_csv(report: RunReport) -> str:
    """Return one row for every number of a run that has an interval, unrounded.

    `column` and `group` name a subgroup (blank: the whole set). `row` is `label` or the name of an
    average. `rule` belongs to the rates of an operating point.
    """
    rows = [row for result in report.results for row in _set_rows(result)]
    return csv_text([METRIC_COLUMNS, *rows])


def _set_rows(result: SetReport) -> Iterator[tuple[str, ...]]:
    name = result.name
    for label in result.evaluation.labels:
        yield from _label_rows(_Place(name, label=label.name), label)
    yield _row(_Place(name, row=MACRO), "auroc", result.evaluation.macro)
    for average in result.evaluation.averages:
        yield _row(_Place(name, row=average.average), average.metric, average.estimate)
    for group in result.subgroups:
        for part in group.labels:
            place = _Place(name, group.column, group.value, label=part.name)
            yield _row(place, "auroc", part.auroc)
        yield _row(_Place(name, group.column, group.value, MACRO), "auroc", group.macro)
    beside = {"auroc_floor": result.floor, "auroc_within_strata": result.within_strata}
    for metric, found in beside.items():
        if found is not None:
            for label, estimate in zip(result.evaluation.labels, found.labels, strict=True):
                yield _row(_Place(name, label=label.name), metric, estimate)
            yield _row(_Place(name, row=MACRO), metric, found.macro)


def _label_rows(place: _Place, label: LabelResult) -> Iterator[tuple[str, ...]]:
    yield _row(place, "auroc", label.auroc)
    for metric in _METRICS:
        estimate = getattr(label, metric)
        if estimate is not None:
            yield _row(place, metric, estimate)
    if label.calibration is not None:
        yield _row(place, "calibration_intercept", label.calibration.intercept)
        yield _row(place, "calibration_slope", label.calibration.slope)
    for point in label.operating_points:
        for metric in ("sensitivity", "specificity", "ppv", "npv", "f1"):
            yield _row(place, metric, getattr(point, metric), point.rule)


def _row(place: _Place, metric: str, estimate: Estimate, rule: str = "") -> tuple[str, ...]:
    return (
        place.set_name, place.column, place.group, place.row, place.label, metric, rule,
        *_limits([estimate]), estimate.reason or "",
        "; ".join(estimate.cautions),
    )  # fmt: skip


def curve_csv(report: RunReport) -> str:
    """Return the label-efficiency curves: one row for each set, size and repeat, unrounded.

    `without` names the labels that the macro of this size does not average; `common_macro` averages
    the labels that all sizes have.
    """
    rows: list[tuple[str, ...]] = [CURVE_COLUMNS]
    for point in report.curve:
        common = point.common or point
        for repeat, macros in enumerate(zip(point.macro, common.macro, strict=True)):
            macro, shared = ("" if number is None else repr(number) for number in macros)
            rows.append((
                point.set_name, point.kind, repr(point.size), str(repeat + 1),
                str(point.rows[repeat]),
                "" if point.patients is None else str(point.patients[repeat]),
                macro, str(len(point.labels)), "; ".join(one.name for one in point.missing),
                shared, str(len(common.labels)),
            ))  # fmt: skip
    return csv_text(rows)
