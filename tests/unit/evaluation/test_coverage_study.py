"""The coverage study: its truths are true, every kind runs, and a broken promise is seen."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrlearn.evaluation.calibration import calibrate
from cxrlearn.evaluation.metrics import auroc_score, average_precision_score, brier_loss

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))
study = importlib.import_module("coverage_study")
simulated = importlib.import_module("simulated_sets")


@pytest.mark.slow
def test_formulas_give_what_a_large_set_shows() -> None:
    design = simulated.Design(
        (0.7, 0.9), 4000, patients=20_000, labels=2, uneven=True, stretch=1.5, offset=0.5
    )
    drawn = simulated.draw(design, np.random.default_rng(0))
    scores = drawn.log_odds(design.truth)
    for label, positive, score in zip(design.truth, drawn.positive.T, scores.T, strict=True):
        assert positive.mean() == pytest.approx(label.prevalence, rel=0.05)
        assert auroc_score(positive, score) == pytest.approx(label.auroc, abs=0.02)
        found = average_precision_score(positive, score)
        assert found == pytest.approx(simulated.pooled_precision((label,)), abs=0.02)
        assert brier_loss(positive, score) == pytest.approx(label.brier, abs=0.005)
        calibration = calibrate(positive, score)
        assert calibration.intercept.value == pytest.approx(label.intercept, abs=0.1)
        assert calibration.slope.value == pytest.approx(label.slope, abs=0.05)
        called = score >= label.threshold(0.8)
        shown = {
            "sensitivity": called[positive].mean(),
            "specificity": (~called)[~positive].mean(),
            "ppv": positive[called].mean(),
            "npv": (~positive)[~called].mean(),
            "f1": 2 * (called & positive).sum() / (called.sum() + positive.sum()),
        }
        assert shown == pytest.approx(label.rates(0.8), abs=0.02)
    together = drawn.positive.ravel(), scores.ravel()
    assert auroc_score(*together) == pytest.approx(simulated.pooled_auroc(design.truth), abs=0.02)
    found = average_precision_score(*together)
    assert found == pytest.approx(simulated.pooled_precision(design.truth), abs=0.02)


def test_designs_have_the_positive_patients_they_say() -> None:
    for images in study.IMAGES[:2]:
        design = simulated.Design(0.8, 15, images)
        drawn = [simulated.draw(design, np.random.default_rng(number)) for number in range(20)]
        owners = [len(np.unique(one.codes[one.positive[:, i]])) for one in drawn for i in range(14)]
        assert np.mean(owners) == pytest.approx(15, abs=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", study.STUDIES)
def test_every_kind_of_cell_counts_intervals(kind: str) -> None:
    cell = next(one for one in study.all_cells() if one.kind == kind)
    found = study.simulate(cell, range(2))
    assert found
    for one in found:
        assert one.intervals + one.without > 0
        assert 0 <= one.below + one.above <= one.intervals
    again = study.together(study.simulate(cell, range(1)) + study.simulate(cell, range(1, 2)))
    assert again == study.together(found)


def test_broken_promises_are_named() -> None:
    cell = study.Cell("numbers", simulated.Design(0.8, 15))
    fine = study.Found((cell,), "AUROC, macro of 6", 1000, 25, 25, 0, 1000)
    assert fine.broken() is None
    assert "90.0 %" in str(replace(fine, below=50, above=50).broken())
    assert "100.0 %" in str(replace(fine, below=0, above=0).broken())
    precision = replace(fine, quantity="average precision, macro of 6")
    assert precision.broken() is None
    assert "misses 9.0 % below" in str(replace(precision, below=90, above=0).broken())
