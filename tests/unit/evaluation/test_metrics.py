"""Metrics of one vector, against slow oracles and scikit-learn."""

from __future__ import annotations

import doctest
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import average_precision_score as sklearn_average_precision
from sklearn.metrics import brier_score_loss, roc_auc_score

from cxrlearn.errors import DataError
from cxrlearn.evaluation import metrics
from cxrlearn.evaluation.calibration import calibration_error_loss
from cxrlearn.evaluation.metrics import (
    auroc_score,
    average_precision_score,
    brier_loss,
    macro_mean,
    why_undefined,
)
from tests.support.auroc_oracles import auroc_by_pairs
from tests.support.metric_oracles import average_precision_by_thresholds, brier_by_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    Metric = Callable[..., float]

ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-3, 3).map(float)), min_size=1, max_size=25
)


@given(ROWS)
def test_auroc_is_the_share_of_won_pairs_with_ties_as_half(rows: list[tuple[int, float]]) -> None:
    labels, scores = zip(*rows, strict=True)
    expected = auroc_by_pairs(labels, scores)
    found = auroc_score(labels, scores)
    assert math.isnan(found) if expected is None else found == pytest.approx(expected, abs=1e-15)


def test_auroc_agrees_with_scikit_learn_on_many_tied_scores() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2000)
    scores = np.round(rng.normal(size=2000) + labels, 1)
    assert auroc_score(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-14)


@given(ROWS)
def test_average_precision_is_the_sum_over_thresholds(rows: list[tuple[int, float]]) -> None:
    labels, scores = zip(*rows, strict=True)
    expected = average_precision_by_thresholds(labels, scores)
    assert average_precision_score(labels, scores) == pytest.approx(
        expected, abs=1e-14, nan_ok=True
    )


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_average_precision_agrees_with_scikit_learn_with_and_without_ties(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    labels = (rng.random(2000) < 0.1).astype(int)
    scores = np.round(rng.normal(size=2000) + labels, decimals)
    expected = sklearn_average_precision(labels, scores)
    assert average_precision_score(labels, scores) == pytest.approx(expected, abs=1e-13)


@given(ROWS)
def test_brier_is_the_mean_squared_error(rows: list[tuple[int, float]]) -> None:
    labels, scores = zip(*rows, strict=True)
    assert brier_loss(labels, scores) == pytest.approx(brier_by_rows(labels, scores), abs=1e-15)


def test_brier_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 500), rng.normal(size=500)
    expected = brier_score_loss(labels, expit(scores))
    assert brier_loss(labels, scores) == pytest.approx(expected, abs=1e-15)


def test_brier_of_a_sure_hit_is_not_rounded_to_zero() -> None:
    assert brier_loss([1], [50.0]) == pytest.approx(math.exp(-100), rel=1e-12)


RANKING: list[Metric] = [auroc_score, average_precision_score]
METRICS: list[Metric] = [*RANKING, brier_loss, calibration_error_loss]


@pytest.mark.parametrize("metric", RANKING)
@given(rows=ROWS)
def test_ranking_metrics_see_only_the_order_of_scores(
    metric: Metric, rows: list[tuple[int, float]]
) -> None:
    labels, scores = (np.array(part) for part in zip(*rows, strict=True))
    np.testing.assert_equal(metric(labels, np.exp(scores) * 7 - 2), metric(labels, scores))


@pytest.mark.parametrize("metric", METRICS)
@given(rows=ROWS)
def test_no_metric_sees_the_order_of_rows(metric: Metric, rows: list[tuple[int, float]]) -> None:
    labels, scores = (np.array(part) for part in zip(*rows, strict=True))
    scores = scores / 7
    np.testing.assert_equal(metric(labels[::-1], scores[::-1]), metric(labels, scores))


@pytest.mark.parametrize("metric", METRICS)
def test_no_metric_changes_when_every_row_is_doubled(metric: Metric) -> None:
    rng = np.random.default_rng(3)
    labels, scores = rng.integers(0, 2, 90), rng.normal(size=90)
    twice = metric(np.tile(labels, 2), np.tile(scores, 2))
    assert twice == pytest.approx(metric(labels, scores), abs=1e-14)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_lies_between_0_and_1_and_is_best_for_sure_hits(metric: Metric) -> None:
    labels = np.array([0, 1, 1, 0])
    best, worst = metric(labels, (2 * labels - 1) * 800.0), metric(labels, (1 - 2 * labels) * 800.0)
    assert min(best, worst) >= 0
    assert max(best, worst) <= 1
    assert best == (1 if metric in RANKING else 0)
    assert abs(best - worst) >= 0.5


@pytest.mark.parametrize("metric", METRICS)
def test_no_rows_are_undefined(metric: Metric) -> None:
    assert math.isnan(metric([], []))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("label", [0, 1])
def test_one_row_has_a_loss_and_no_rank(metric: Metric, label: int) -> None:
    found = metric([label], [0.0])
    expected = math.nan if metric in RANKING else {brier_loss: 0.25}.get(metric, 0.5)
    assert found == pytest.approx(expected, nan_ok=True)


def test_constant_scores_rank_like_chance() -> None:
    labels = [1, 0, 0, 0]
    assert auroc_score(labels, [2.0] * 4) == 0.5
    assert average_precision_score(labels, [2.0] * 4) == 0.25


def test_turning_labels_or_scores_round_gives_the_complement() -> None:
    labels, scores = np.array([0, 1, 1, 0, 1]), np.array([0.1, 0.1, 0.9, 0.3, -2.0])
    assert auroc_score(1 - labels, scores) == pytest.approx(1 - auroc_score(labels, scores))
    assert auroc_score(labels, -scores) == pytest.approx(1 - auroc_score(labels, scores))


def test_infinite_scores_rank_at_the_ends() -> None:
    assert auroc_score([0, 0, 1, 1], [-np.inf, 0, 1, np.inf]) == 1.0


def test_log_odds_far_apart_are_not_tied_by_rounded_probabilities() -> None:
    logits = np.array([40.0, 41.0])
    probabilities = 1 / (1 + np.exp(-logits))
    assert probabilities[0] == probabilities[1]
    assert auroc_score([0, 1], logits) == 1.0


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((0, 231), "no positives among 231 known rows"),
        ((4, 0), "no negatives among 4 known rows"),
        ((1, 0), "no negatives among 1 known row"),
        ((0, 0), "no known rows"),
        ((1, 1), None),
    ],
)
def test_one_class_is_undefined_with_a_reason(counts: tuple[int, int], reason: str | None) -> None:
    positives, negatives = counts
    assert why_undefined(*counts) == reason
    for metric in RANKING:
        score = metric([1] * positives + [0] * negatives, np.arange(sum(counts)))
        assert math.isnan(score) == (reason is not None)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.5, math.nan], "1 of 2 scores are NaN"),
        ([0, -1], [0.5, 0.1], "must be 0 or 1"),
        ([0, 1, 1], [0.5, 0.1], "one length"),
    ],
)
def test_wrong_input_is_refused_in_words(
    metric: Metric, labels: list[int], scores: list[float], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        metric(labels, scores)


def test_macro_mean_does_not_depend_on_label_order_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((200, 14))
    order = rng.permutation(14)
    assert (macro_mean(values) == macro_mean(values[:, order])).all()
    assert (values.mean(axis=1) != values[:, order].mean(axis=1)).any()


def test_examples_in_docstrings_are_true() -> None:
    assert doctest.testmod(metrics).failed == 0
