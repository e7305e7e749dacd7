"""Numbers without each patient: against leaving the rows out and computing the metric again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from cxrlearn.evaluation import average_precision
from cxrlearn.evaluation.average_precision import average_precision_without
from cxrlearn.evaluation.calibration import calibrate
from cxrlearn.evaluation.jackknife import (
    Jackknife,
    auroc_without,
    count_pairs,
    count_without,
    mean_of,
    ratio_without,
    with_unknown,
)
from cxrlearn.evaluation.metric_table import METRICS
from tests.support import influence_oracles as oracle
from tests.support.clustered_data import Design, draw

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = npt.NDArray[np.float64]


class Rows(NamedTuple):
    positive: npt.NDArray[np.bool_]
    score: Floats
    codes: npt.NDArray[np.intp]
    patients: int

    @property
    def labels(self) -> npt.NDArray[np.int8]:
        return self.positive.astype(np.int8)

    def without(self, metric: oracle.Metric) -> Floats:
        """Compute the metric again without the rows of each patient."""
        functional = oracle.of_label(metric, self.labels, self.score)
        return oracle.jackknife_values(functional, np.ones(len(self.score)), self.codes)


def rows(seed: int, *, ties: int = 1, patients: int = 12, size: int = 60) -> Rows:
    """Patients of very different size, some with one class only; scores rounded to make ties."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(patients, 0.7))
    codes = np.unique(rng.choice(patients, size, p=shares), return_inverse=True)[1]
    positive = rng.random(size) < 0.35
    positive[0], positive[1] = True, False
    score = np.round(rng.normal(size=size) + positive, ties)
    return Rows(positive, score, codes, int(codes.max()) + 1)


@pytest.mark.parametrize("ties", [0, 1, 9])
@pytest.mark.parametrize("seed", range(6))
def test_auroc_without_each_patient_is_that_of_the_rows_left(seed: int, ties: int) -> None:
    data = rows(seed, ties=ties)
    found = auroc_without(count_pairs(*data))
    expected = data.without(oracle.weighted_auroc)
    assert found.value == pytest.approx(
        oracle.weighted_auroc(data.labels, data.score, np.ones(len(data.score)))
    )
    assert found.without == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("many", [1, 2, 1000], ids=["powers", "both", "steps"])
@pytest.mark.parametrize("ties", [0, 1, 9])
@pytest.mark.parametrize("seed", range(6))
def test_average_precision_without_each_patient_is_that_of_the_rows_left(
    seed: int, ties: int, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if many < 1000:  # few rows need more powers for the same digits
        monkeypatch.setattr(average_precision, "_POWERS", 200)
    monkeypatch.setattr(average_precision, "MANY", many + 1)
    data = rows(seed, ties=ties)
    expected = data.without(oracle.weighted_average_precision)
    # Without negatives the metric is undefined here, where scikit-learn's would be 1.
    left = [(~data.positive[data.codes != code]).any() for code in range(data.patients)]
    expected = np.where(left, expected, np.nan)
    assert average_precision_without(*data).without == pytest.approx(expected, nan_ok=True)


def test_brier_without_each_patient_is_that_of_the_rows_left() -> None:
    data = rows(0)
    found = METRICS["brier"].without(*data)
    assert found.without == pytest.approx(data.without(oracle.weighted_brier))


@pytest.mark.parametrize(
    ("metric", "of", "among"),
    [
        (oracle.weighted_sensitivity, lambda y, c: y & c, lambda y, _: y),
        (oracle.weighted_specificity, lambda y, c: ~y & ~c, lambda y, _: ~y),
        (oracle.weighted_ppv, lambda y, c: y & c, lambda _, c: c),
        (oracle.weighted_npv, lambda y, c: ~y & ~c, lambda _, c: ~c),
        (oracle.weighted_f1, lambda y, c: 2.0 * (y & c), lambda y, c: 1.0 * y + c),
    ],
    ids=["sensitivity", "specificity", "ppv", "npv", "f1"],
)
def test_ratios_without_each_patient_are_those_of_the_rows_left(
    metric: oracle.Metric,
    of: Callable[[npt.NDArray[np.bool_], npt.NDArray[np.bool_]], Floats],
    among: Callable[[npt.NDArray[np.bool_], npt.NDArray[np.bool_]], Floats],
) -> None:
    data = rows(3)
    called = data.score >= 0.5
    found = ratio_without(
        of(data.positive, called).astype(float),
        among(data.positive, called).astype(float),
        data.codes,
        data.patients,
    )
    functional = oracle.of_label(metric, data.labels, called.astype(float))
    expected = oracle.jackknife_values(functional, np.ones(len(called)), data.codes)
    assert found.without == pytest.approx(expected, nan_ok=True)


def test_strata_are_pairs_won_in_all_over_all_their_pairs() -> None:
    data, stratum = rows(1), np.arange(60) % 3
    parts = [
        count_pairs(data.positive[s], data.score[s], data.codes[s], data.patients)
        for s in (stratum == number for number in range(3))
    ]
    found = auroc_without(*parts)
    for code in range(data.patients):
        kept = data.codes != code
        won = pairs = 0.0
        for number in range(3):
            here = kept & (stratum == number)
            up, down = data.score[here & data.positive], data.score[here & ~data.positive]
            apart = np.subtract.outer(up, down)
            won += float((apart > 0).sum() + 0.5 * (apart == 0).sum())
            pairs += apart.size
        assert found.without[code] == pytest.approx(won / pairs)


def test_averages_without_each_patient_are_those_of_the_rows_left() -> None:
    first, second = rows(4), rows(5)
    codes, patients = first.codes, first.patients
    second = second._replace(codes=codes, patients=patients)
    parts = [auroc_without(count_pairs(*data)) for data in (first, second)]
    plain, weights = (
        mean_of(parts),
        [count_without(d.positive, codes, patients) for d in (first, second)],
    )
    weighted = mean_of(parts, weights)
    functionals = [
        oracle.of_label(oracle.weighted_auroc, d.labels, d.score) for d in (first, second)
    ]
    both = np.stack([first.labels, second.labels], axis=1)
    ones = np.ones(len(codes))
    for found, functional in (
        (plain, oracle.macro(functionals)),
        (weighted, oracle.weighted(functionals, both)),
    ):
        assert found.value == pytest.approx(functional(ones))
        expected = oracle.jackknife_values(functional, ones, codes)
        assert found.without == pytest.approx(expected, nan_ok=True)


def test_a_shift_is_the_influence_of_a_patient_where_there_are_many() -> None:
    data = draw(Design(patients=400, prevalence=0.3), np.random.default_rng(0))
    y, score = data.y_true[:, 0], data.logits[0][:, 0]
    _, codes = np.unique(data.patients, return_inverse=True)
    for metric, name in (
        (oracle.weighted_auroc, "auroc"),
        (oracle.weighted_average_precision, "average_precision"),
        (oracle.weighted_brier, "brier"),
    ):
        found = METRICS[name].without(y == 1, score, codes, int(codes.max()) + 1)
        functional = oracle.of_label(metric, y, score)
        influence = oracle.numeric_influence(functional, np.ones(len(y)), codes)
        assert -found.shifts == pytest.approx(influence, abs=0.05 * np.abs(influence).max())


def test_calibration_moves_by_about_what_a_new_fit_without_the_patient_gives() -> None:
    data = draw(Design(patients=150, prevalence=0.3), np.random.default_rng(1))
    y, score = data.y_true[:, 0], data.logits[0][:, 0]
    _, codes = np.unique(data.patients, return_inverse=True)
    found = calibrate(y, score, codes)
    for estimate, metric in (
        (found.intercept, oracle.calibration_intercept),
        (found.slope, oracle.calibration_slope),
    ):
        functional = oracle.of_label(metric, y, score)
        ones = np.ones(len(y))
        again = oracle.jackknife_values(functional, ones, codes)
        expected = Jackknife(functional(ones), again)
        assert estimate.value == pytest.approx(expected.value, abs=1e-6)
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < expected.value < estimate.high
        error = (estimate.high - estimate.low) / 2
        assert error == pytest.approx(1.98 * expected.standard_error, rel=0.05)


def test_degrees_of_freedom_count_the_patients_that_carry_the_variation() -> None:
    rng = np.random.default_rng(0)
    normal = Jackknife(0.0, rng.normal(size=2000))
    assert normal.degrees_of_freedom == pytest.approx(2000, rel=0.1)
    few = Jackknife(0.0, np.concatenate([rng.normal(size=20), np.zeros(1980)]))
    assert few.degrees_of_freedom == pytest.approx(20, rel=0.5)
    assert Jackknife(0.0, np.array([1.0, 0, 0, 0])).degrees_of_freedom == pytest.approx(
        5 / 3, abs=0.01
    )
    assert Jackknife(0.5, np.full(3, 0.5)).degrees_of_freedom == 1


def test_bias_is_what_the_jackknife_removes_from_a_variance() -> None:
    values = np.random.default_rng(0).normal(size=30)
    without = np.array([np.delete(values, i).var() for i in range(30)])
    found = Jackknife(float(values.var()), without)
    assert found.value - found.bias == pytest.approx(values.var(ddof=1))


def test_a_number_that_rests_on_one_patient_counts_as_uncertain_as_it_can_be() -> None:
    lone = Jackknife(1.0, np.array([np.nan, 1.0, 1.0]))
    firm = Jackknife(0.6, np.array([0.6, 0.58, 0.62]))
    assert np.isnan(mean_of([lone, firm]).standard_error)
    found = with_unknown([lone, firm], 0.8)
    assert found[0].standard_error == pytest.approx(0.4)
    assert found[1].without == pytest.approx(firm.without)


def test_a_patient_among_others_keeps_its_shift_and_the_others_have_none() -> None:
    found = Jackknife(0.7, np.array([0.6, 0.8])).among(np.array([3, 1]), 5)
    assert found.without.tolist() == [0.7, 0.8, 0.7, 0.6, 0.7]


@pytest.mark.parametrize("patients", [8, 10, 64, 100])
def test_patients_who_all_count_alike_give_one_degree_less_than_there_are(patients: int) -> None:
    hits = np.repeat(np.arange(patients) < patients // 2, 2).astype(float)
    codes = np.repeat(np.arange(patients), 2)
    found = ratio_without(hits, np.ones_like(hits), codes, patients)
    assert found.degrees_of_freedom == patients - 1
