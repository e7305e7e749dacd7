"""AUROC of one vector, against pair counting and scikit-learn."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cxrlearn.errors import DataError
from cxrlearn.evaluation import metrics
from cxrlearn.evaluation.metrics import auroc_score, macro_mean, why_undefined
from tests.support.auroc_oracles import auroc_by_pairs

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
def test_auroc_sees_only_the_order_of_scores(rows: list[tuple[int, float]]) -> None:
    labels, scores = (np.array(part) for part in zip(*rows, strict=True))
    found = auroc_score(labels, scores)
    np.testing.assert_equal(auroc_score(labels, np.exp(scores) * 7 - 2), found)
    np.testing.assert_equal(auroc_score(labels[::-1], scores[::-1]), found)


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
    score = auroc_score([1] * positives + [0] * negatives, np.arange(sum(counts)))
    assert math.isnan(score) == (reason is not None)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.5, math.nan], "1 of 2 scores are NaN"),
        ([0, -1], [0.5, 0.1], "must be 0 or 1"),
        ([0, 1, 1], [0.5, 0.1], "one length"),
    ],
)
def test_wrong_input_is_refused_in_words(
    labels: list[int], scores: list[float], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        auroc_score(labels, scores)


def test_macro_mean_does_not_depend_on_label_order_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((200, 14))
    order = rng.permutation(14)
    assert (macro_mean(values) == macro_mean(values[:, order])).all()
    assert (values.mean(axis=1) != values[:, order].mean(axis=1)).any()


def test_examples_in_docstrings_are_true() -> None:
    assert doctest.testmod(metrics).failed == 0
