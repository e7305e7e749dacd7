from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np

from cxrlearn.reports.learning_curves import history_csv, learning_figure
from cxrlearn.training.position import EpochRow
from tests.support.run_reports import sample_training


def test_each_curve_goes_through_its_numbers_and_the_epoch_taken_is_marked() -> None:
    training = sample_training()
    loss, auroc = learning_figure(training).axes[:2]
    train, validation, mark = loss.lines
    np.testing.assert_array_equal(
        np.asarray(train.get_xydata()), [(1, 0.7), (2, 0.6), (3, 0.7 - 0.1 * 2)]
    )
    heights = np.asarray(validation.get_xydata())[:, 1]
    assert list(heights) == [row.validation_loss for row in training.history]
    assert set(np.asarray(mark.get_xdata())) == {2}
    (scores, _) = auroc.lines
    np.testing.assert_array_equal(
        np.asarray(scores.get_xydata()), [(2, 0.79), (3, 0.78)]
    )  # none in the first


def test_without_validation_there_is_one_panel() -> None:
    training = sample_training()
    history = tuple(
        replace(row, validation_loss=None, validation_auroc=None) for row in training.history
    )
    figure = learning_figure(replace(training, history=history))
    (loss,) = [axes for axes in figure.axes if axes.lines]
    assert len(loss.lines) == 2


def test_the_history_counts_epochs_from_one_and_keeps_every_digit() -> None:
    rows = [
        EpochRow(0, 1 / 3, 1e-3, 0, None, {"val_loss": None}),
        EpochRow(1, None, 5e-4, 2, 0.5, {"val_loss": 0.1 + 0.2}),
    ]
    first, second = csv.DictReader(history_csv(rows).splitlines())
    assert (first["epoch"], float(first["loss"]), first["score"], first["val_loss"]) == (
        "1",
        1 / 3,
        "",
        "",
    )
    assert (second["loss"], second["skipped_steps"]) == ("", "2")
    assert float(second["val_loss"]) == 0.1 + 0.2
