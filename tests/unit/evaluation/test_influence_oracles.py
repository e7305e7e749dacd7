"""The oracle of influence values, against copies of rows, scikit-learn and closed forms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from tests.support import influence_oracles as oracle
from tests.support.clustered_data import (
    ClusteredData,
    Design,
    draw,
    true_average_precision,
    true_brier,
)

if TYPE_CHECKING:
    import numpy.typing as npt

DATA = draw(Design(patients=40, grid=0.25, masked=0.1), np.random.default_rng(1))
ONES = np.ones(len(DATA.patients))
WEIGHTS = np.random.default_rng(2).integers(0, 4, len(ONES)).astype(np.float64)
SCORED = (
    oracle.weighted_auroc,
    oracle.weighted_average_precision,
    oracle.weighted_brier,
    oracle.calibration_intercept,
    oracle.calibration_slope,
)
DECIDED = (
    oracle.weighted_sensitivity,
    oracle.weighted_specificity,
    oracle.weighted_ppv,
    oracle.weighted_npv,
    oracle.weighted_f1,
)


def label(
    number: int = 0, data: ClusteredData = DATA
) -> tuple[npt.NDArray[np.int8], oracle.FloatArray]:
    return data.y_true[:, number], data.logits[0][:, number]


def called(score: oracle.FloatArray, threshold: float = -1.0) -> oracle.FloatArray:
    return (score >= threshold).astype(np.float64)


def by_patient(values: oracle.FloatArray) -> oracle.FloatArray:
    """Add what each row brings up within its patient."""
    return np.array([values[rows].sum() for rows in oracle.rows_of_patients(DATA.patients)])


def influence(metric: oracle.Metric, score: oracle.FloatArray | None = None) -> oracle.FloatArray:
    y, own = label()
    functional = oracle.of_label(metric, y, own if score is None else score)
    return oracle.numeric_influence(functional, ONES, DATA.patients)


# ---- weighted metrics ----------------------------------------------------------------------------


def test_weighted_metrics_of_scores_are_those_of_scikit_learn() -> None:
    y, score = label()
    probability = 1 / (1 + np.exp(-score))
    weights = WEIGHTS + 0.25
    pairs = (
        (oracle.weighted_auroc, roc_auc_score(y, score, sample_weight=weights)),
        (
            oracle.weighted_average_precision,
            average_precision_score(y, score, sample_weight=weights),
        ),
        (oracle.weighted_brier, brier_score_loss(y, probability, sample_weight=weights)),
    )
    for metric, expected in pairs:
        assert metric(y, score, weights) == pytest.approx(expected, rel=1e-12)


def test_weighted_metrics_of_decisions_are_those_of_scikit_learn() -> None:
    y, score = label()
    decision, weights = called(score), WEIGHTS + 0.25
    recall = recall_score(y, decision, sample_weight=weights)
    expected = (
        recall,
        recall_score(1 - y, 1 - decision, sample_weight=weights),
        precision_score(y, decision, sample_weight=weights),
        precision_score(1 - y, 1 - decision, sample_weight=weights),
        f1_score(y, decision, sample_weight=weights),
    )
    found = [metric(y, decision, weights) for metric in DECIDED]
    assert found == pytest.approx(expected, rel=1e-12)


def test_weighted_calibration_solves_its_equations() -> None:
    y, score = label()
    weights = WEIGHTS + 0.25

    def excess(a: float) -> float:
        return float((weights * (y - 1 / (1 + np.exp(-a - score)))).sum())

    expected = brentq(excess, -9, 9, xtol=1e-14)
    assert oracle.calibration_intercept(y, score, weights) == pytest.approx(expected, abs=1e-11)
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000)
    model.fit(score[:, None], y, sample_weight=weights)
    found = oracle.calibration_slope(y, score, weights)
    assert found == pytest.approx(float(model.coef_[0, 0]), abs=1e-5)


@pytest.mark.parametrize("metric", [*SCORED, *DECIDED])
def test_whole_weights_are_copies_of_rows(metric: oracle.Metric) -> None:
    y, score = label()
    if metric in DECIDED:
        score = called(score)
    copied = np.repeat(np.arange(len(y)), WEIGHTS.astype(int))
    plain = metric(y[copied], score[copied], np.ones(len(copied)))
    assert metric(y, score, WEIGHTS) == pytest.approx(plain, rel=1e-11)


def test_what_is_undefined_is_nan() -> None:
    y, score = label()
    nobody = np.zeros_like(ONES)
    assert all(np.isnan(metric(y, score, nobody)) for metric in SCORED)
    assert all(np.isnan(metric(y, called(score), nobody)) for metric in DECIDED)
    negative, positive = np.zeros_like(y), np.ones_like(y)
    assert np.isnan(oracle.weighted_auroc(positive, score, ONES))
    assert np.isnan(oracle.calibration_intercept(negative, score, ONES))
    assert np.isnan(oracle.calibration_slope(y, y.astype(np.float64), ONES))  # perfectly separated
    assert np.isnan(oracle.calibration_slope(y, np.zeros_like(score), ONES))


# ---- influence, against closed forms -------------------------------------------------------------


def test_influence_on_the_auroc_is_the_sum_of_delong_components() -> None:
    y, score = label()
    auroc, (ones, zeros) = oracle.weighted_auroc(y, score, ONES), (score[y == 1], score[y == 0])
    rows = np.zeros(len(y))
    for i, s in enumerate(score):
        if y[i] == 1:
            component = np.mean([(s > other) + 0.5 * (s == other) for other in zeros])
            rows[i] = (component - auroc) / len(ones)
        else:
            component = np.mean([(s < other) + 0.5 * (s == other) for other in ones])
            rows[i] = (component - auroc) / len(zeros)
    assert influence(oracle.weighted_auroc) == pytest.approx(by_patient(rows), abs=1e-9)


def test_influence_on_the_average_precision_is_that_of_its_sum() -> None:
    # AP = Σ over positives j of w_j TP_j / R_j / P, with the sums at or above the score of j.
    y, score = label()
    positives, total = int(y.sum()), oracle.weighted_average_precision(y, score, ONES)
    rows = np.zeros(len(y))
    for j in np.flatnonzero(y):
        above = score >= score[j]
        true, passed = y[above].sum(), above.sum()
        rows[j] += true / passed - total
        rows[above] += y[above] / passed - true / passed**2
    found = influence(oracle.weighted_average_precision)
    assert found == pytest.approx(by_patient(rows / positives), abs=1e-9)


def test_influence_on_ratios_is_that_of_numerator_and_denominator() -> None:
    y, score = label()
    decision = called(score)
    for metric, part, whole in (
        (oracle.weighted_sensitivity, y * decision, y),
        (oracle.weighted_specificity, (1 - y) * (1 - decision), 1 - y),
        (oracle.weighted_ppv, y * decision, decision),
        (oracle.weighted_npv, (1 - y) * (1 - decision), 1 - decision),
        (oracle.weighted_f1, 2 * y * decision, y + decision),
    ):
        rows = (part - part.sum() / whole.sum() * whole) / whole.sum()
        found = influence(metric, decision)
        assert found == pytest.approx(by_patient(rows), abs=1e-9), metric.__name__
    error = (1 / (1 + np.exp(-score)) - y) ** 2
    rows = (error - error.mean()) / len(y)
    assert influence(oracle.weighted_brier) == pytest.approx(by_patient(rows), abs=1e-9)


def test_influence_on_calibration_is_the_score_by_the_inverse_information() -> None:
    y, score = label()
    a = oracle.calibration_intercept(y, score, ONES)
    p = 1 / (1 + np.exp(-a - score))
    rows = (y - p) / (p * (1 - p)).sum()
    assert influence(oracle.calibration_intercept) == pytest.approx(by_patient(rows), abs=1e-7)

    slope = oracle.calibration_slope(y, score, ONES)
    a = brentq(lambda a: (y - 1 / (1 + np.exp(-a - slope * score))).sum(), -9, 9, xtol=1e-14)
    p = 1 / (1 + np.exp(-a - slope * score))
    design = np.stack([np.ones_like(score), score])
    information = (design * p * (1 - p)) @ design.T
    rows = (np.linalg.inv(information) @ (design * (y - p)))[1]
    assert influence(oracle.calibration_slope) == pytest.approx(by_patient(rows), abs=1e-7)


@pytest.mark.parametrize("metric", [*SCORED, *DECIDED])
def test_influence_adds_up_to_zero_since_common_weights_change_nothing(
    metric: oracle.Metric,
) -> None:
    score = called(label()[1]) if metric in DECIDED else None
    found = influence(metric, score)
    assert found.sum() == pytest.approx(0, abs=1e-7)
    assert np.abs(found).max() > 1e-4


def test_averages_and_differences_have_the_influence_of_their_parts() -> None:
    numbers = range(DATA.y_true.shape[1])
    models = [
        [
            oracle.of_label(
                oracle.weighted_auroc, DATA.y_true[:, i], logits[:, i], DATA.known[:, i]
            )
            for i in numbers
        ]
        for logits in DATA.logits
    ]
    parts = np.array([oracle.numeric_influence(one, ONES, DATA.patients) for one in models[0]])
    found = oracle.numeric_influence(oracle.macro(models[0]), ONES, DATA.patients)
    assert found == pytest.approx(parts.mean(axis=0), abs=1e-9)

    # Quotient rule: the weights of the labels are influenced as well.
    positive = ((DATA.y_true == 1) & DATA.known).astype(np.float64)
    share, values = positive.sum(axis=0), np.array([one(ONES) for one in models[0]])
    mean = (share * values).sum() / share.sum()
    owned = np.array([positive[r].sum(axis=0) for r in oracle.rows_of_patients(DATA.patients)])
    expected = (owned @ (values - mean) + share @ parts) / share.sum()
    functional = oracle.weighted(models[0], DATA.y_true, DATA.known)
    assert functional(ONES) == pytest.approx(mean)
    found = oracle.numeric_influence(functional, ONES, DATA.patients)
    assert found == pytest.approx(expected, abs=1e-9)

    both = oracle.difference(oracle.macro(models[0]), oracle.macro(models[1]))
    second = oracle.numeric_influence(oracle.macro(models[1]), ONES, DATA.patients)
    found = oracle.numeric_influence(both, ONES, DATA.patients)
    assert found == pytest.approx(parts.mean(axis=0) - second, abs=1e-9)


def test_micro_average_is_one_label_of_all_known_pairs() -> None:
    y, logits, known = DATA.y_true, DATA.logits[0], DATA.known
    pooled = oracle.micro(oracle.weighted_auroc, y, logits, known)
    assert pooled(ONES) == pytest.approx(roc_auc_score(y[known], logits[known]), rel=1e-12)
    owners = np.broadcast_to(DATA.patients[:, None], y.shape)[known]
    one = oracle.of_label(oracle.weighted_auroc, y[known], logits[known])
    expected = oracle.numeric_influence(one, np.ones(int(known.sum())), owners)
    found = oracle.numeric_influence(pooled, ONES, DATA.patients)
    assert found == pytest.approx(expected, abs=1e-9)


def test_masked_rows_have_no_influence() -> None:
    y, score = label()
    known = ~np.isin(DATA.patients, np.unique(DATA.patients)[:3])
    functional = oracle.of_label(oracle.weighted_auroc, y, score, known)
    found = oracle.numeric_influence(functional, ONES, DATA.patients)
    assert found[:3].tolist() == [0, 0, 0]
    assert (found[3:] != 0).any()


# ---- jackknife -----------------------------------------------------------------------------------


def test_jackknife_values_are_those_of_the_data_without_the_patient() -> None:
    y, score = label()
    functional = oracle.of_label(oracle.weighted_average_precision, y, score)
    found = oracle.jackknife_values(functional, ONES, DATA.patients)
    expected = [
        average_precision_score(y[DATA.patients != one], score[DATA.patients != one])
        for one in np.unique(DATA.patients)
    ]
    assert found == pytest.approx(expected, rel=1e-12)


def test_jackknife_without_the_only_positive_patient_is_nan() -> None:
    y = np.array([1, 1, 0, 0], dtype=np.int8)
    functional = oracle.of_label(oracle.weighted_auroc, y, np.array([3.0, 0.0, 1.0, 2.0]))
    found = oracle.jackknife_values(functional, np.ones(4), ["b", "b", "a", "c"])
    assert found[[0, 2]].tolist() == [0.5, 0.5]
    assert np.isnan(found[1])


# ---- made-up data --------------------------------------------------------------------------------


def test_made_up_data_have_the_truth_that_they_promise() -> None:
    design = Design(patients=20000, labels=2, prevalence=0.2, auroc=0.8)
    data = draw(design, np.random.default_rng(3))
    for i in range(2):
        y, (first, second) = data.y_true[:, i], (one[:, i] for one in data.logits)
        assert y.mean() == pytest.approx(0.2, abs=0.01)
        assert roc_auc_score(y, first) == pytest.approx(0.8, abs=0.01)
        assert roc_auc_score(y, second) == pytest.approx(0.8, abs=0.01)
        precision = average_precision_score(y, first)
        assert precision == pytest.approx(true_average_precision(design), abs=0.015)
        probability = 1 / (1 + np.exp(-first))
        assert brier_score_loss(y, probability) == pytest.approx(true_brier(design), abs=0.005)
        weights = np.ones(len(y))
        assert oracle.calibration_intercept(y, first, weights) == pytest.approx(0, abs=0.05)
        assert oracle.calibration_slope(y, first, weights) == pytest.approx(1, abs=0.05)
        noise = [one[y == 0] for one in (first, second)]
        assert np.corrcoef(*noise)[0, 1] == pytest.approx(0.6, abs=0.02)


def test_made_up_images_of_a_patient_and_labels_of_an_image_are_correlated() -> None:
    data = draw(Design(patients=20000, images=(2, 2), label_icc=0.5), np.random.default_rng(4))
    order = np.argsort(data.patients, kind="stable").reshape(-1, 2)
    y = data.y_true
    assert np.corrcoef(y[order[:, 0], 0], y[order[:, 1], 0])[0, 1] > 0.2
    assert np.corrcoef(y[:, 0], y[:, 1])[0, 1] > 0.05
    negative = (y[order, 0] == 0).all(axis=1)
    noise = data.logits[0][order, 0][negative]
    assert np.corrcoef(noise.T)[0, 1] == pytest.approx(0.4, abs=0.03)


def test_made_up_sets_follow_sizes_masks_grids_and_seeds() -> None:
    design = Design(patients=50, masked=0.3, grid=0.5)
    data = draw(design, np.random.default_rng(5))
    _, sizes = np.unique(data.patients, return_counts=True)
    assert (len(sizes), sizes.min() >= 1, sizes.max() <= 8) == (50, True, True)
    assert data.known.mean() == pytest.approx(0.7, abs=0.1)
    assert (data.logits[0] * 2 == np.round(data.logits[0] * 2)).all()
    again = draw(design, np.random.default_rng(5))
    assert (again.logits[1] == data.logits[1]).all()
    heavy = draw(replace(design, patients=4), np.random.default_rng(5), sizes=[180, 1, 1, 2])
    assert np.unique(heavy.patients, return_counts=True)[1].tolist() == [180, 1, 1, 2]
    assert norm.cdf(design.shift / np.sqrt(2)) == pytest.approx(design.auroc)
