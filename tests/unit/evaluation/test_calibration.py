"""Calibration: bins that never depend on row order, and fits against scikit-learn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from cxrlearn.errors import DataError
from cxrlearn.evaluation.calibration import bin_rows, calibrate, calibration_error_loss
from tests.support.metric_oracles import bins_by_rank, calibration_error_by_bins

ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-9, 9).map(lambda i: i / 3)), min_size=1, max_size=50
)
FloatArray = npt.NDArray[np.float64]


def _slope(labels: FloatArray, scores: FloatArray) -> float:
    found = calibrate(labels, scores).slope.value
    assert found is not None
    return found


def _intercept(labels: FloatArray, scores: FloatArray) -> float:
    found = calibrate(labels, scores).intercept.value
    assert found is not None
    return found


def _drawn(
    seed: int, rows: int, intercept: float = 0, slope: float = 1
) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    scores = rng.normal(-1, 1.5, rows)
    return (rng.random(rows) < expit(intercept + slope * scores)).astype(float), scores


@given(ROWS)
def test_error_is_the_weighted_gap_over_bins_by_rank(rows: list[tuple[int, float]]) -> None:
    labels, scores = zip(*rows, strict=True)
    expected = calibration_error_by_bins(labels, scores, bins_by_rank(scores))
    assert calibration_error_loss(labels, scores) == pytest.approx(expected, abs=1e-14)


@given(ROWS)
def test_equal_probabilities_share_a_bin_and_bins_rise(rows: list[tuple[int, float]]) -> None:
    scores = np.array([score for _, score in rows])
    bins = bin_rows(scores)
    assert set(bins) == set(range(bins.max() + 1))
    order = np.argsort(scores)
    assert (np.diff(bins[order]) >= 0).all()
    for score in set(scores):
        assert len(set(bins[scores == score])) == 1


@pytest.mark.parametrize("rows", [15, 16, 29, 100, 1501])
def test_without_ties_15_bins_differ_by_at_most_one_row(rows: int) -> None:
    sizes = np.bincount(bin_rows(np.random.default_rng(0).normal(size=rows)))
    assert len(sizes) == 15
    assert sizes.max() - sizes.min() <= 1


def test_log_odds_whose_probabilities_tie_share_a_bin() -> None:
    assert bin_rows(np.array([40.0, 41.0, -800.0])).tolist() == [1, 1, 0]


def test_bins_of_the_result_add_up_to_the_error() -> None:
    labels, scores = _drawn(1, 400)
    found = calibrate(labels, scores)
    assert [b.rows for b in found.bins] == [
        27,
        26,
        27,
        27,
        26,
        27,
        27,
        26,
        27,
        27,
        26,
        27,
        27,
        26,
        27,
    ]
    total = sum(b.rows * abs(b.share - b.probability) for b in found.bins) / 400
    assert total == pytest.approx(calibration_error_loss(labels, scores), abs=1e-15)
    assert found.prevalence == labels.mean()
    assert found.mean_probability == pytest.approx(expit(scores).mean(), abs=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_slope_agrees_with_an_unpenalised_fit_of_scikit_learn(seed: int) -> None:
    labels, scores = _drawn(seed, 300, 0.5, 0.7)
    model = LogisticRegression(C=np.inf, tol=1e-10, solver="newton-cholesky")
    expected = model.fit(scores[:, None], labels).coef_[0, 0]
    assert calibrate(labels, scores).slope.value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_intercept_is_the_most_likely_one_with_the_score_as_offset(seed: int) -> None:
    labels, scores = _drawn(seed, 300, 0.5, 0.7)
    expected = minimize_scalar(
        lambda a: np.logaddexp(0, np.where(labels == 1, -1, 1) * (a + scores)).sum(), tol=1e-12
    ).x
    assert calibrate(labels, scores).intercept.value == pytest.approx(expected, abs=1e-6)


def test_probabilities_that_are_true_have_intercept_0_and_slope_1() -> None:
    found = calibrate(*_drawn(0, 100_000))
    assert found.intercept.value == pytest.approx(0, abs=0.03)
    assert found.slope.value == pytest.approx(1, abs=0.03)
    assert calibration_error_loss(*_drawn(0, 100_000)) < 0.01


def test_too_low_and_too_extreme_probabilities_show() -> None:
    labels, scores = _drawn(0, 20_000)
    assert _intercept(labels, scores - 1) == pytest.approx(_intercept(labels, scores) + 1, abs=1e-9)
    assert _slope(labels, 2 * scores) == pytest.approx(_slope(labels, scores) / 2, rel=1e-9)


@pytest.mark.parametrize(("shift", "scale"), [(500.0, 1.0), (-500.0, 1.0), (0.0, 1e-6), (0.0, 1e3)])
def test_fits_do_not_mind_far_or_odd_scores(shift: float, scale: float) -> None:
    labels, scores = _drawn(2, 200)
    odd = scores * scale + shift
    assert _slope(labels, odd) == pytest.approx(_slope(labels, scores) / scale, rel=1e-6)
    if scale == 1:
        expected = _intercept(labels, scores) - shift
        assert _intercept(labels, odd) == pytest.approx(expected, abs=1e-9)


def _slope_by_roots(labels: FloatArray, scores: FloatArray, low: float, high: float) -> float:
    """Solve for the slope, the intercept being solved for at each trial; both sums are monotone."""

    def fitted(slope: float) -> FloatArray:
        x = slope * scores
        ends = -x.max() - 50, -x.min() + 50
        root = brentq(lambda a: expit(a + x).sum() - labels.sum(), *ends, xtol=1e-14)
        return np.asarray(expit(root + x))

    return float(brentq(lambda b: (fitted(b) - labels) @ scores, low, high, rtol=1e-12))


@pytest.mark.parametrize(
    ("labels", "scores", "ends"),
    [
        ([0, 1, 0, 1, 1], [-0.0008, 0.0012037724, 0.0012037725, 0.0199, 0.0908], (1, 1e6)),
        ([0, 0, 1, 0, 1, 1], [-2000, -1000, 0, 1e-9, 1000, 2000], (1e-3, 10)),
        ([1, 0, 1, 0], [-3, -2, 40, 41], (-1, 1)),
    ],
)
def test_slope_is_found_where_newtons_steps_go_too_far(
    labels: list[int], scores: list[float], ends: tuple[float, float]
) -> None:
    y, s = np.array(labels, float), np.array(scores, float)
    assert _slope(y, s) == pytest.approx(_slope_by_roots(y, s, *ends), rel=1e-5)


def test_slope_that_only_rounding_keeps_finite_is_null_with_reason() -> None:
    scores = [-173.8, -47.5, -19.6, -17.989648813563605, -17.989648813562606, 45.7, 63.0, 8219.5]
    found = calibrate([0, 0, 0, 1, 0, 1, 1, 1], scores)
    assert found.slope.value is None
    assert found.slope.reason == "no slope: its fit did not converge"


def test_nothing_depends_on_row_order_to_the_last_bit() -> None:
    labels, scores = _drawn(3, 200)
    order = np.random.default_rng(0).permutation(200)
    assert calibrate(labels[order], scores[order]) == calibrate(labels, scores)


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [
        ([0, 1, 0], [0.3, 0.3, 0.3], "no slope: all probabilities are equal"),
        ([0, 0, 1], [0.1, 0.2, 0.3], "no slope: the probabilities separate the classes"),
        ([1, 1, 0], [0.1, 0.2, 0.3], "no slope: the probabilities separate the classes"),
        ([0, 1, 1], [0.1, 0.1, 0.3], "no slope: the probabilities separate the classes"),
    ],
)
def test_slope_that_does_not_exist_is_null_with_reason(
    labels: list[int], scores: list[float], reason: str
) -> None:
    found = calibrate(labels, scores)
    assert (found.slope.value, found.slope.reason) == (None, reason)
    assert found.intercept.value is not None
    fitted = expit(found.intercept.value + np.array(scores)).sum()
    assert fitted == pytest.approx(sum(labels), abs=1e-9)


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [
        ([0, 0], [0.1, 0.2], "no positives among 2 known rows"),
        ([1], [0.1], "no negatives among 1 known row"),
        ([0, 1, 0], [0.1, np.inf, 0.2], "1 log-odds are infinite"),
    ],
)
def test_fits_that_do_not_exist_are_null_with_reason(
    labels: list[int], scores: list[float], reason: str
) -> None:
    found = calibrate(labels, scores)
    for estimate in (found.intercept, found.slope):
        assert (estimate.value, estimate.reason) == (None, reason)
    assert found.prevalence == np.mean(labels)
    assert sum(b.rows for b in found.bins) == len(labels)


def test_no_rows_have_no_prevalence() -> None:
    found = calibrate([], [])
    assert (found.prevalence, found.mean_probability, found.bins) == (None, None, ())
    assert found.slope.reason == found.intercept.reason == "no known rows"


def test_nan_score_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 scores are NaN"):
        calibrate([0, 1], [0.5, np.nan])
