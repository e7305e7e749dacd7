"""The course of a training: history.csv, and its loss and validation AUROC as figures."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from cxrlearn.reports.panels import LINE, Panel, Scaffold, panel_figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cxrlearn.reports.schema import FinetuneReport
    from cxrlearn.training.position import EpochRow

COLUMNS = ("epoch", "loss", "rate", "skipped_steps", "score")
_VALIDATION = "#D55E00"
"""Okabe and Ito's vermilion: told from the blue of training by everyone."""


def history_csv(history: Iterable[EpochRow]) -> str:
    """Return a line for each epoch, from 1; blank where a number is undefined."""
    rows = list(history)
    measured = list(dict.fromkeys(name for row in rows for name in row.record))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *measured])
    for row in rows:
        numbers = (row.loss, row.rate, row.skipped, row.score)
        measures = (row.record.get(name) for name in measured)
        writer.writerow([row.epoch + 1, *map(_cell, (*numbers, *measures))])
    return text.getvalue()


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)


def learning_figure(training: FinetuneReport) -> Figure:
    """Draw loss and validation AUROC by epoch; a dotted line marks the epoch that was taken."""
    scaffold = Scaffold(
        "learning curves",
        "blue: train; vermilion: validation; dotted: epoch taken",
        "epoch",
        "",
        own_scales=True,
        aspect=0.8,
        tick_room=0.75,  # AUROCs that differ in the fourth digit
    )
    curves = [Panel("loss", ("nats",), lambda axes: _draw_loss(axes, training))]
    if any(row.validation_auroc is not None for row in training.history):
        curves.append(Panel("AUROC", ("macro",), lambda axes: _draw_auroc(axes, training)))
    return panel_figure(curves, scaffold)


def _draw_loss(axes: Axes, training: FinetuneReport) -> None:
    _draw(axes, [row.loss for row in training.history], LINE)
    _draw(axes, [row.validation_loss for row in training.history], _VALIDATION)
    _mark(axes, training.best_epoch)


def _draw_auroc(axes: Axes, training: FinetuneReport) -> None:
    _draw(axes, [row.validation_auroc for row in training.history], _VALIDATION)
    _mark(axes, training.best_epoch)


def _draw(axes: Axes, values: Sequence[float | None], colour: str) -> None:
    points = [(epoch, value) for epoch, value in enumerate(values, 1) if value is not None]
    if points:
        axes.plot(
            *zip(*points, strict=True), color=colour, linewidth=1.0, marker="o", markersize=1.6
        )


def _mark(axes: Axes, best_epoch: int) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - see `panels`

    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    axes.axvline(best_epoch + 1, color="#767676", linewidth=0.6, linestyle=(0, (1, 2)))
