"""The tables below the main one, as plain cells: Markdown, HTML and terminal only draw them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.evaluation.results import Estimate
from cxrlearn.reports.findings import MISSING

if TYPE_CHECKING:
    from cxrlearn.evaluation.results import Calibration, Evaluation, LabelResult, OperatingPoint
    from cxrlearn.reports.schema import CurvePointReport, RunReport, SetReport, SplitReport

Cell = str | Estimate
"""Text as it is, or an estimate whose reason and cautions become footnotes."""

_NONE = Estimate(None, None, None, None, ())
METRICS = {
    "auroc": "AUROC",
    "average_precision": "AP",
    "brier": "Brier",
    "calibration_error": "ECE",
}
"""Metrics of labels and averages, with their heading."""


@dataclass(frozen=True)
class Section:
    """A heading, sentences and a table."""

    title: str
    """The heading."""
    header: tuple[str, ...]
    """The columns' headings; the first column holds names, all others numbers."""
    rows: tuple[tuple[Cell, ...], ...]
    """As many cells each as there are headings."""
    lead: tuple[str, ...] = ()
    """Sentences before the table."""
    detail: bool = False
    """Long, and read by few: folded in HTML, left out of Markdown."""


def set_sections(result: SetReport) -> tuple[Section, ...]:
    """Return the sections of one test set; what the run does not have is left out."""
    sections = (
        _metrics(result),
        _operating_points(result),
        _shortcuts(result),
        *_subgroups(result),
    )
    return tuple(section for section in sections if section is not None)


def run_sections(report: RunReport) -> tuple[Section, ...]:
    """Return the sections that are not of one set: curve, pretraining, splits, fit."""
    sections = (curve_section(report), _pretraining(report), _splits(report), _fit(report))
    return tuple(section for section in sections if section is not None)


# --- Of one set


def _metrics(result: SetReport) -> Section | None:
    evaluation = result.evaluation
    labels = [label for label in evaluation.labels if label.average_precision is not None]
    if not labels and not evaluation.averages:
        return None
    rows: list[tuple[Cell, ...]] = [_metric_row(label) for label in evaluation.labels]
    rows += [_average_row(name, evaluation) for name in _averages(evaluation)]
    header = ("label", *METRICS.values(), "prevalence", "intercept", "slope")
    lead = (
        "Weighted averages count labels by their positives; micro pools all label-rows. "
        "AP: average precision, beside the prevalence that chance reaches. Brier: squared error of "
        "the probability. ECE: expected calibration error, without an interval because it is above "
        "0 even for perfect probabilities. Intercept (0 is perfect) and slope "
        "(1 is perfect) of the calibration.",
    )
    return Section(f"{result.name}: all metrics", header, tuple(rows), lead)


def _metric_row(label: LabelResult) -> tuple[Cell, ...]:
    estimates = [getattr(label, metric) or _NONE for metric in METRICS]
    return (label.name, *estimates, *_calibration_cells(label.calibration))


def _calibration_cells(calibration: Calibration | None) -> tuple[Cell, ...]:
    if calibration is None:
        return (MISSING,) * 3
    prevalence = MISSING if calibration.prevalence is None else f"{calibration.prevalence:.1%}"
    return (prevalence, calibration.intercept, calibration.slope)


def _averages(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the averages there are, macro first."""
    found = {average.average for average in evaluation.averages}
    return tuple(name for name in ("macro", "weighted", "micro") if name in found)


def _average_row(name: str, evaluation: Evaluation) -> tuple[Cell, ...]:
    found = {one.metric: one.estimate for one in evaluation.averages if one.average == name}
    if name == "macro":
        found["auroc"] = evaluation.macro
    return (name, *(found.get(metric, _NONE) for metric in METRICS), "", "", "")


def _operating_points(result: SetReport) -> Section | None:
    rows = [
        (label.name, *_point_cells(point))
        for label in result.evaluation.labels
        for point in label.operating_points
    ]
    if not rows:
        return None
    lead = (
        f"Thresholds were chosen on validation; TP, FP, TN and FN count the {result.row}s of this "
        "set.",
    )
    header = (
        "label", "rule", "probability ≥", "TP / FP / TN / FN",
        "sensitivity", "specificity", "PPV", "NPV", "F1",
    )  # fmt: skip
    return Section(f"{result.name}: operating points", header, tuple(rows), lead)


def _point_cells(point: OperatingPoint) -> tuple[Cell, ...]:
    rule = point.rule.replace(">=", " ≥ ").replace("youden", "Youden")
    if point.threshold is None:
        missing = Estimate(None, None, None, point.reason, ())
        return (rule, missing, *("",) * 6)
    counts = (
        point.true_positives, point.false_positives, point.true_negatives, point.false_negatives,
    )  # fmt: skip
    rates = (point.sensitivity, point.specificity, point.ppv, point.npv, point.f1)
    return (rule, _number(point.probability, 3), " / ".join(f"{n:,}" for n in counts), *rates)


def _shortcuts(result: SetReport) -> Section | None:
    floor, within, evaluation = result.floor, result.within_strata, result.evaluation
    if floor is None and within is None:
        return None
    names: list[Cell] = [label.name for label in evaluation.labels]
    columns: list[list[Cell]] = [
        ["label", *names, "macro"],
        ["AUROC", *(label.auroc for label in evaluation.labels), evaluation.macro],
    ]
    if floor is not None:
        columns.append([f"baseline ({', '.join(floor.columns)})", *floor.labels, floor.macro])
    if within is not None:
        columns.append([f"within {', '.join(within.columns)}", *within.labels, within.macro])
    header, *rows = zip(*columns, strict=True)
    lead = []
    if floor is not None:
        lead.append("The metadata baseline is a probe that uses only these columns, no image.")
    if within is not None:
        lead.append(f"The last column compares only {result.row}s that are alike in these columns.")
    return Section(
        f"{result.name}: metadata baseline and strata",
        tuple(map(str, header)),
        tuple(rows),
        tuple(lead),
    )


def _subgroups(result: SetReport) -> list[Section]:
    if not result.subgroups:
        return []
    unit = f"{result.evaluation.unit}s"
    rows_of = f"{result.row}s"
    header = ("subgroup", rows_of if unit == rows_of else f"{rows_of} ({unit})",
              "macro AUROC [95 % CI]", "labels averaged")  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for group in result.subgroups:
        size = f"{group.rows:,}" if unit == rows_of else f"{group.rows:,} ({group.clusters:,})"
        averaged = f"{len(group.macro_labels)} of {len(group.labels)}"
        rows.append((f"{group.column}: {group.value}", size, group.macro, averaged))
    overview = Section(f"{result.name}: subgroups", header, tuple(rows))
    columns = dict.fromkeys(group.column for group in result.subgroups)
    return [overview, *(_subgroup_labels(result, column) for column in columns)]


def _subgroup_labels(result: SetReport, column: str) -> Section:
    groups = [group for group in result.subgroups if group.column == column]
    header = ["label"]
    for group in groups:
        header += [f"{group.value}: AUROC [95 % CI]", "positives / known"]
    rows: list[tuple[Cell, ...]] = []
    for number, name in enumerate(label.name for label in result.evaluation.labels):
        row: list[Cell] = [name]
        for label in (group.labels[number] for group in groups):
            row += [label.auroc, f"{label.positives:,} / {label.positives + label.negatives:,}"]
        rows.append(tuple(row))
    title = f"{result.name}: labels by {column}"
    return Section(title, tuple(header), tuple(rows), detail=True)


# --- Of the run


def curve_section(report: RunReport) -> Section | None:
    """Return the label-efficiency curves as a table; None without one."""
    if not report.curve:
        return None
    kinds = sorted({point.kind for point in report.curve})
    header = ["set", " / ".join(map(curve_axis, kinds)), "training images", "patients",
              "macro AUROC", "range (min\N{EN DASH}max)", "repeats", "labels"]  # fmt: skip
    rows = [_curve_row(point) for point in report.curve]
    if any(point.common is not None for point in report.curve):
        header.append("macro of the labels of all sizes")
        means = [(point.common or point).mean for point in report.curve]
        rows = [(*row, _number(mean, 3)) for row, mean in zip(rows, means, strict=True)]
    if any(point.missing for point in report.curve):
        header.append("without (in repeats)")
        missing = [_missing(point) for point in report.curve]
        rows = [(*row, names) for row, names in zip(rows, missing, strict=True)]
    return Section("Label efficiency", tuple(header), tuple(rows))


def _curve_row(point: CurvePointReport) -> tuple[Cell, ...]:
    patients = MISSING if point.patients is None else _range(point.patients)
    defined = sum(value is not None for value in point.macro)
    repeats = f"{defined}" if defined == len(point.macro) else f"{defined} of {len(point.macro)}"
    spread = MISSING
    if point.low is not None and point.high is not None:
        spread = f"{point.low:.3f} to {point.high:.3f}"
    labels = str(len(point.labels))
    if point.missing:
        labels += f" of {len(point.labels) + len(point.missing)}"
    return (
        point.set_name, curve_size(point), _range(point.rows), patients, _number(point.mean, 3),
        spread, repeats, labels,
    )  # fmt: skip


def _missing(point: CurvePointReport) -> str:
    """Return the labels that a size lacks, with the repeats that lack them unless all do."""
    names = [
        one.name if one.repeats == one.of else f"{one.name} ({one.repeats} of {one.of})"
        for one in point.missing
    ]
    return ", ".join(names) or MISSING


def curve_axis(kind: str) -> str:
    """Return what the sizes of a curve are."""
    return "share of patients" if kind == "fraction" else "positive patients per label"


def curve_size(point: CurvePointReport) -> str:
    """Return one size of a curve: `10 %` or `16`."""
    return f"{100 * point.size:g} %" if point.kind == "fraction" else f"{point.size:g}"


def _range(numbers: tuple[int, ...]) -> str:
    if not numbers:
        return MISSING
    least, most = min(numbers), max(numbers)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _pretraining(report: RunReport) -> Section | None:
    if not report.pretraining:
        return None
    rows = tuple(
        (one.split, ", ".join(one.datasets) or "none known", one.sentence)
        for one in report.pretraining
    )
    header = ("split", "datasets of both", "in words")
    return Section("What the backbone may have seen before", header, rows)


def _splits(report: RunReport) -> Section:
    header = ("split", "role", "file", "images used", "left out", "patients")
    return Section("Images", header, tuple(map(_split_row, report.splits)), detail=True)


def _split_row(split: SplitReport) -> tuple[Cell, ...]:
    patients = MISSING if split.patients is None else f"{split.patients:,}"
    left_out = f"{split.rows - split.used:,}"
    return (split.name, split.role, split.source, f"{split.used:,}", left_out, patients)


_STATES = {True: "converged", False: "STOPPED EARLY", None: "fitted"}


def _fit(report: RunReport) -> Section:
    fits = report.probe.labels
    gaps = any(fit.gap is not None for fit in fits)
    penalised = any(fit.C is not None for fit in fits)
    header = ["label", "positives", "negatives"]
    header += ["C", "chosen by"] if penalised else []
    header += ["certified gap"] if gaps else []
    rows = []
    for fit in fits:
        row: list[Cell] = [fit.name, f"{fit.positives:,}", f"{fit.negatives:,}"]
        row += [MISSING if fit.C is None else f"{fit.C:.4g}", fit.c_from or ""] if penalised else []
        row += [MISSING if fit.gap is None else f"{fit.gap:.0e}"] if gaps else []
        said = "; ".join((fit.reason or _STATES[fit.converged], *fit.notes))
        rows.append((*row, said))
    return Section("How each label was fitted", (*header, "fit"), tuple(rows), detail=True)


def _number(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"
