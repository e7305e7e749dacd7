"""The figures of a run: ROC, precision-recall, calibration and label efficiency.

Every figure is one column of a paper wide, with letters of 6 points and more: it needs no scaling
there, and is readable at that width on a phone. Each label has a panel of its own, with its
numbers in the title, so there is no legend to match colours with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.reports.curves import pr_points, roc_points, thin
from cxrlearn.reports.findings import estimate_text
from cxrlearn.reports.panels import CHANCE, LINE, Panel, Scaffold, panel_figure
from cxrlearn.reports.sections import curve_axis, curve_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cxrlearn.evaluation.results import Calibration, LabelResult
    from cxrlearn.reports.predictions import FloatArray, Predictions
    from cxrlearn.reports.schema import CurvePointReport, SetReport

    _Draw = Callable[[Axes, npt.NDArray[np.bool_], FloatArray], None]


def set_figures(
    result: SetReport, predictions: Predictions, curve: Sequence[CurvePointReport]
) -> dict[str, Figure]:
    """Return the figures of a set by name: roc, pr, and calibration and curve where there are any.

    Args:
        result: the set.
        predictions: its predictions.
        curve: all points of the report's label-efficiency curves.
    """
    figures = {"roc": roc_figure(result, predictions), "pr": pr_figure(result, predictions)}
    if any(label.calibration is not None for label in result.evaluation.labels):
        figures["calibration"] = calibration_figure(result)
    if any(point.set_name == result.name for point in curve):
        figures["curve"] = curve_figure(curve, result.name)
    return figures


def roc_figure(result: SetReport, predictions: Predictions) -> Figure:
    """Draw the ROC curve of every label, with the line of chance.

    Args:
        result: the set; a label without an AUROC gets an empty panel with the reason.
        predictions: of the same labels in the same order.
    """
    scaffold = Scaffold(
        f"{result.name}: ROC",
        "AUROC [95 % CI], positives / known; dashed: chance",
        "1 \N{MINUS SIGN} specificity",
        "sensitivity",
    )
    panels = [
        _ranked(label, number, predictions, _draw_roc, (estimate_text(label.auroc),))
        for number, label in enumerate(result.evaluation.labels)
    ]
    return panel_figure(panels, scaffold)


def pr_figure(result: SetReport, predictions: Predictions) -> Figure:
    """Draw precision against recall of every label, with the prevalence that chance reaches.

    Arguments as in `roc_figure`.
    """
    scaffold = Scaffold(
        f"{result.name}: precision and recall",
        "average precision [95 % CI], positives / known; dashed: prevalence",
        "recall (sensitivity)",
        "precision (PPV)",
    )
    panels = []
    for number, label in enumerate(result.evaluation.labels):
        found = label.average_precision
        lines = () if found is None else (estimate_text(found),)
        panels.append(_ranked(label, number, predictions, _draw_pr, lines))
    return panel_figure(panels, scaffold)


def _ranked(
    label: LabelResult, number: int, predictions: Predictions, draw: _Draw, lines: tuple[str, ...]
) -> Panel:
    """Return the panel of one label, drawn from its known rows."""
    if label.auroc.value is None:
        return Panel(label.name, (), None, label.auroc.reason)
    known = predictions.known[:, number]
    positive = predictions.values[known, number] == 1
    score = predictions.logits[known, number]
    return Panel(label.name, (*lines, _counts(label)), lambda axes: draw(axes, positive, score))


def _counts(label: LabelResult) -> str:
    return f"{label.positives:,} / {label.positives + label.negatives:,}"


def _draw_roc(axes: Axes, positive: npt.NDArray[np.bool_], score: FloatArray) -> None:
    axes.plot((0, 1), (0, 1), color=CHANCE, linewidth=0.6, linestyle=(0, (3, 2)))
    axes.plot(*thin(*roc_points(positive, score)), color=LINE, linewidth=1.0)


def _draw_pr(axes: Axes, positive: npt.NDArray[np.bool_], score: FloatArray) -> None:
    axes.axhline(float(positive.mean()), color=CHANCE, linewidth=0.6, linestyle=(0, (3, 2)))
    recall, precision = pr_points(positive, score)
    reached, held = thin(recall, precision)
    # A step's precision holds from the recall before it, so the first one starts at 0.
    axes.step((0.0, *reached), (held[0], *held), where="pre", color=LINE, linewidth=1.0)


def calibration_figure(result: SetReport) -> Figure:
    """Draw the share of positives against the mean probability, in bins of equal count.

    Axes end at the greatest of both: the probabilities of a rare finding would be one dot
    otherwise. The numbers are those of the report.
    """
    scaffold = Scaffold(
        f"{result.name}: calibration",
        "intercept, slope (perfect: 0, 1); positives / known",
        "mean probability",
        "share of positives",
        own_scales=True,
    )
    return panel_figure([_calibrated(label) for label in result.evaluation.labels], scaffold)


def _calibrated(label: LabelResult) -> Panel:
    found = label.calibration
    if found is None or not found.bins:
        reason = label.auroc.reason if found is None else found.intercept.reason
        return Panel(label.name, (), None, reason or "no calibration")
    intercept, slope = found.intercept.value, found.slope.value
    if intercept is None or slope is None:
        fit: tuple[str, ...] = ("no fit",)
    else:
        fit = (f"{intercept:+.2f}, {slope:.2f}".replace("-", "\N{MINUS SIGN}"),)
    return Panel(label.name, (*fit, _counts(label)), lambda axes: _draw_bins(axes, found))


def _draw_bins(axes: Axes, found: Calibration) -> None:
    probability = [one.probability for one in found.bins]
    share = [one.share for one in found.bins]
    end = _round_end(max(*probability, *share))
    axes.plot((0, end), (0, end), color=CHANCE, linewidth=0.6, linestyle=(0, (3, 2)))
    axes.plot(probability, share, color=LINE, linewidth=0.7, marker="o", markersize=2.2)
    axes.set(xlim=(-0.02 * end, 1.02 * end), ylim=(-0.02 * end, 1.02 * end))
    said = ("0", f"{end:g}")
    axes.set_xticks((0, end), said)
    axes.set_yticks((0, end), said)


def _round_end(greatest: float) -> float:
    """Return the end of an axis that holds `greatest`."""
    ends = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
    return next((end for end in ends if greatest <= end), 1.0)


def curve_figure(points: Sequence[CurvePointReport], set_name: str) -> Figure:
    """Draw the macro AUROC of one set against the size of the training set.

    Dots are repeats, the line their mean, the band reaches from the lowest to the highest. Where
    sizes lack different labels, the ticks count the labels of each and a dashed line shows the
    mean macro of the labels that all have. Sizes are on a logarithmic axis. A run with shares and
    shots has a panel for each.

    Args:
        points: of a report; those of other sets are left out.
        set_name: the set.
    """
    mine = [point for point in points if point.set_name == set_name]
    kinds = sorted({point.kind for point in mine})
    panels = [_efficiency([p for p in mine if p.kind == kind]) for kind in kinds]
    axis = " / ".join(curve_axis(kind) for kind in kinds)
    dashed = "; dashed: labels of all sizes" if any(point.common for point in mine) else ""
    scaffold = Scaffold(
        f"{set_name}: label efficiency",
        f"line: mean of the repeats; band: their range{dashed}",
        axis,
        "macro AUROC",
        own_scales=True,
        aspect=0.7,
    )
    return panel_figure(panels, scaffold)


def _efficiency(points: Sequence[CurvePointReport]) -> Panel:
    defined = [point for point in points if point.mean is not None]
    count = len(points[0].labels)
    averaged = f"macro of {count} label{'s' * (count != 1)}"
    if points[0].common is not None:
        averaged = "macro of the labels of each size (how many)"
    if not defined:
        return Panel(averaged, (), None, "no repeat of any size could be evaluated")
    return Panel(averaged, (), lambda axes: _draw_curve(axes, defined))


def _draw_curve(axes: Axes, points: Sequence[CurvePointReport]) -> None:
    sizes = [point.size for point in points]
    means = [point.mean for point in points if point.mean is not None]
    lows = [m if p.low is None else p.low for p, m in zip(points, means, strict=True)]
    highs = [m if p.high is None else p.high for p, m in zip(points, means, strict=True)]
    axes.set_xscale("log")
    axes.fill_between(sizes, lows, highs, color=LINE, alpha=0.15, linewidth=0)
    for point in points:
        repeats = [value for value in point.macro if value is not None]
        axes.plot([point.size] * len(repeats), repeats, "o", color=LINE, markersize=2.0,
                  markerfacecolor="white", markeredgewidth=0.5)  # fmt: skip
    axes.plot(sizes, means, color=LINE, linewidth=1.0, marker="o", markersize=3.0)
    common = [(point.size, point.common.mean) for point in points if point.common is not None]
    shared = [(size, mean) for size, mean in common if mean is not None]
    if shared:
        axes.plot(*zip(*shared, strict=True), color=LINE, linewidth=0.8, linestyle="--")
    for size, mean, high in zip(sizes, means, highs, strict=True):
        axes.annotate(f"{mean:.3f}", (size, high), xytext=(0, 3), textcoords="offset points",
                      ha="center", va="bottom")  # fmt: skip
    axes.margins(x=0.08, y=0.15)
    counts = [f" ({len(point.labels)})" if common else "" for point in points]
    ticks = [curve_size(point) + count for point, count in zip(points, counts, strict=True)]
    axes.set_xticks(sizes, ticks)
    axes.minorticks_off()
