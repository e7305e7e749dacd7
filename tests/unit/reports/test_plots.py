"""Figures: what they draw is the data, what they cannot draw they say, and bytes repeat."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pytest
from sklearn.metrics import auc

from cxrlearn.evaluation.results import Calibration, CalibrationBin, Estimate
from cxrlearn.reports.findings import estimate_text
from cxrlearn.reports.panels import WIDTH, figure_png, figure_svg, printable, wrapped
from cxrlearn.reports.plots import (
    calibration_figure,
    curve_figure,
    pr_figure,
    roc_figure,
    set_figures,
)
from tests.support.run_reports import NAMES, full_report, sample_predictions, uneven_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cxrlearn.reports.predictions import Predictions
    from cxrlearn.reports.schema import RunReport, SetReport

PREDICTIONS = sample_predictions()


@pytest.fixture(scope="module")
def report() -> RunReport:
    return full_report({"test": PREDICTIONS})


@pytest.fixture(scope="module")
def result(report: RunReport) -> SetReport:
    return report.results[0]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def few(result: SetReport, labels: int) -> tuple[SetReport, Predictions]:
    """Return the first labels of a set alone."""
    evaluation = replace(result.evaluation, labels=result.evaluation.labels[:labels])
    arrays = {
        name: getattr(PREDICTIONS, name)[:, :labels]
        for name in ("values", "known", "logits", "probabilities")
    }
    return replace(result, evaluation=evaluation), replace(
        PREDICTIONS, names=NAMES[:labels], **arrays
    )


def test_each_panel_says_label_auroc_and_counts(result: SetReport) -> None:
    panels = roc_figure(result, PREDICTIONS).axes
    assert len(panels) == len(NAMES)
    for axes, label in zip(panels, result.evaluation.labels, strict=True):
        said = texts(axes)
        if label.auroc.value is None:
            assert " ".join(said[-1].split()) == label.auroc.reason
            assert not axes.lines
        else:
            assert said[:2] == [
                f"{label.positives} / {label.positives + label.negatives}",
                estimate_text(label.auroc),
            ]
            _, curve = axes.lines
            x, y = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())
            assert auc(x, y) == pytest.approx(label.auroc.value, abs=2e-3)


def test_precision_recall_has_the_prevalence_as_its_line_of_chance(result: SetReport) -> None:
    axes = pr_figure(result, PREDICTIONS).axes[0]
    label = result.evaluation.labels[0]
    prevalence = label.positives / (label.positives + label.negatives)
    chance, curve = axes.lines
    assert list(np.asarray(chance.get_ydata())) == [prevalence] * 2
    assert np.asarray(curve.get_ydata())[-1] == pytest.approx(prevalence)


def test_calibration_draws_the_bins_of_the_report(result: SetReport) -> None:
    axes = calibration_figure(result).axes[0]
    found = result.evaluation.labels[0].calibration
    assert found is not None
    _, dots = axes.lines
    assert list(np.asarray(dots.get_xdata())) == [one.probability for one in found.bins]
    assert list(np.asarray(dots.get_ydata())) == [one.share for one in found.bins]
    assert texts(axes)[1] == "+0.12, 0.81"


def test_calibration_of_a_rare_label_fills_its_panel_and_says_what_has_no_fit(
    result: SetReport,
) -> None:
    bins = (CalibrationBin(9, 0.001, 0.0), CalibrationBin(9, 0.012, 0.018))
    none = Estimate(None, None, None, "perfectly separated", ())
    rare = Calibration(0.01, 0.01, none, none, bins)
    labels = (replace(result.evaluation.labels[0], calibration=rare),)
    changed = replace(result, evaluation=replace(result.evaluation, labels=labels))
    (axes,) = calibration_figure(changed).axes
    assert axes.get_xlim()[1] == pytest.approx(0.0204)
    assert texts(axes)[1] == "no fit"


def test_label_without_calibration_is_an_empty_panel_with_the_reason(result: SetReport) -> None:
    axes = calibration_figure(result).axes[2]
    assert " ".join(texts(axes)[-1].split()) == result.evaluation.labels[2].auroc.reason


def test_curve_draws_repeats_mean_and_band(report: RunReport) -> None:
    (axes,) = curve_figure(report.curve, "test").axes
    *repeats, mean = axes.lines
    assert [list(np.asarray(one.get_ydata())) for one in repeats] == [
        [0.55, 0.61], [0.66, 0.68, 0.7], [0.74],
    ]  # fmt: skip
    assert list(np.asarray(mean.get_ydata())) == pytest.approx([0.58, 0.68, 0.74])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["10 %", "50 %", "100 %"]
    assert axes.get_xscale() == "log"


def test_curve_of_sizes_with_other_labels_has_a_dashed_line_of_those_that_all_have() -> None:
    (axes,) = curve_figure(uneven_curve("test"), "test").axes
    *_, mean, common = axes.lines
    assert list(np.asarray(mean.get_ydata())) == pytest.approx([0.58, 0.68, 0.74])
    assert list(np.asarray(common.get_ydata())) == pytest.approx([0.58, 0.61, 0.65])
    assert common.get_linestyle() == "--"
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert ticks == ["10 % (1)", "50 % (2)", "100 % (2)"]


def test_shares_and_shots_have_a_panel_each_and_an_empty_curve_says_so(report: RunReport) -> None:
    shots = replace(report.curve[0], kind="shots", size=16)
    assert len(curve_figure((*report.curve, shots), "test").axes) == 2
    nothing = replace(shots, mean=None, low=None, high=None, macro=(None, None, None))
    (axes,) = curve_figure((nothing,), "test").axes
    assert " ".join(texts(axes)[-1].split()) == "no repeat of any size could be evaluated"


def test_a_set_has_the_figures_it_can_have(report: RunReport, result: SetReport) -> None:
    found = set_figures(result, PREDICTIONS, report.curve)
    assert list(found) == ["roc", "pr", "calibration", "curve"]
    labels = tuple(replace(label, calibration=None) for label in result.evaluation.labels)
    plain = replace(result, evaluation=replace(result.evaluation, labels=labels))
    assert list(set_figures(plain, PREDICTIONS, ())) == ["roc", "pr"]


def test_set_of_one_class_is_all_empty_panels(result: SetReport) -> None:
    none = Estimate(None, None, None, "no positives among 3 known rows", ())
    labels = tuple(replace(label, auroc=none) for label in result.evaluation.labels)
    changed = replace(result, evaluation=replace(result.evaluation, labels=labels))
    for axes in roc_figure(changed, PREDICTIONS).axes:
        assert " ".join(texts(axes)[-1].split()) == "no positives among 3 known rows"


def test_set_of_three_images_is_drawn(result: SetReport) -> None:
    changed, _ = few(result, 1)
    rows = np.array([[1], [0], [1]])
    tiny = replace(
        PREDICTIONS,
        image_ids=("a", "b", "c"),
        patient_ids=(None,) * 3,
        names=NAMES[:1],
        values=rows.astype(np.int8),
        known=np.ones((3, 1), bool),
        logits=np.array([[1.0], [0.5], [0.0]]),
        probabilities=np.full((3, 1), 0.5),
    )
    (axes,) = roc_figure(changed, tiny).axes
    curve = axes.lines[1]
    assert list(np.asarray(curve.get_xdata())) == [0, 0, 1, 1]
    assert list(np.asarray(curve.get_ydata())) == [0, 0.5, 0.5, 1]


@pytest.mark.parametrize("labels", [1, 2, 5, 6])
def test_figures_are_one_column_wide_and_panels_never_overlap(
    result: SetReport, labels: int
) -> None:
    figure = roc_figure(*few(result, labels))
    assert figure.get_figwidth() * 2.54 == pytest.approx(WIDTH)
    boxes = [axes.get_position() for axes in figure.axes]
    for number, box in enumerate(boxes):
        assert box.x0 > 0
        assert box.x1 < 1
        assert box.y0 > 0
        assert box.y1 < 1
        assert not any(box.overlaps(other) for other in boxes[:number])


def every_figure(report: RunReport) -> dict[str, Figure]:
    return set_figures(report.results[0], PREDICTIONS, report.curve)


def test_bytes_repeat_whatever_the_settings_of_the_user_are(report: RunReport) -> None:
    before = mpl.rcParams.copy()
    first = {n: (figure_svg(f), figure_png(f)) for n, f in every_figure(report).items()}
    try:
        mpl.rcParams.update({"font.size": 20, "lines.color": "red", "svg.fonttype": "none"})
        again = {n: (figure_svg(f), figure_png(f)) for n, f in every_figure(report).items()}
        assert mpl.rcParams["font.size"] == 20
    finally:
        mpl.rcParams.update({k: before[k] for k in ("font.size", "lines.color", "svg.fonttype")})
    assert first == again


def test_files_hold_no_date_no_version_and_nothing_outside(report: RunReport) -> None:
    for figure in every_figure(report).values():
        svg = figure_svg(figure)
        ET.fromstring(svg)  # noqa: S314 - made three lines above
        assert not re.search(r"<(dc:date|script|image)", svg)
        assert not re.search(r'(?:href|src)="(?!#)', svg)
        assert mpl.__version__ not in svg
        png = figure_png(figure)
        assert b"Software" not in png
        assert png.startswith(b"\x89PNG")


def test_names_in_other_scripts_and_with_dollars_are_drawn_without_a_warning(
    result: SetReport,
) -> None:
    names = ("\u80ba\u708e", "a $x_2$ b", "line\nbreak \x00 \x1b", "x" * 300)
    labels = tuple(
        replace(label, name=name)
        for label, name in zip(result.evaluation.labels, names, strict=False)
    )
    changed, predictions = few(result, 4)
    changed = replace(changed, evaluation=replace(changed.evaluation, labels=labels))
    figure = roc_figure(changed, predictions)
    assert texts(figure.axes[1])[-1] == "a $x_2$ b"
    ET.fromstring(figure_svg(figure))  # noqa: S314 - made one line above


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("Effusion", ["Effusion"]),
        ("Pleural_Thickening", ["Pleural_Thickening"]),
        ("Enlarged Cardiomediastinum", ["Enlarged", "Cardiomediastinum"]),
        ("Lung_Opacity/Consolidation", ["Lung_Opacity/", "Consolidation"]),
        ("one two three four five six seven", ["one two three four", "five six seven"]),
        ("a" * 40, ["a" * 17 + "\N{HORIZONTAL ELLIPSIS}"]),
        ("", [""]),
    ],
)
def test_long_names_break_where_people_would_break_them(name: str, lines: list[str]) -> None:
    assert wrapped(name, 18) == lines


def test_what_does_not_fit_on_two_lines_ends_with_an_ellipsis() -> None:
    first, second = wrapped("aaaa bbbb cccc dddd eeee ffff", 9)
    assert first == "aaaa bbbb"
    assert second == "cccc ddd\N{HORIZONTAL ELLIPSIS}"
    assert printable("a\tb\x07c") == "a b c"


def test_plots_import_matplotlib_only_when_they_draw_and_pyplot_never() -> None:
    script = (
        "import sys, cxrlearn.reports.writers\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from cxrlearn.reports.plots import curve_figure, figure_svg\n"
    ).replace(", figure_svg", "")
    subprocess.run([sys.executable, "-c", script], check=True)
    assert "matplotlib.pyplot" not in sys.modules
