"""From images to groups: probabilities averaged, truths merged, nothing lost at the ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, log_softmax

from cxrlearn.errors import DataError, UsageError
from cxrlearn.evaluation.aggregate import aggregate_rows
from tests.support.group_oracles import mean_log_odds

GROUPS = ["b", "a", "b", None, "a", "b", "c"]
SCORES = np.array([[0.3, -2], [1.5, 0.1], [-1, 4], [0.7, 0.2], [2, -3], [0, 0], [0.1, 0.9]])
Y = np.array([[0, 1], [0, 0], [1, 0], [1, 1], [0, 0], [0, 0], [1, 0]])
KNOWN = np.array([[1, 1], [1, 0], [1, 1], [1, 1], [0, 0], [0, 1], [0, 1]], bool)
ROWS_OF = {"a": [1, 4], "b": [0, 2, 5], "c": [6], None: [3]}


def test_groups_come_by_sorted_id_then_rows_without_one() -> None:
    found = aggregate_rows(Y, KNOWN, SCORES, GROUPS)
    assert found.groups == ("a", "b", "c", None)
    assert found.codes.tolist() == [1, 0, 1, 3, 0, 1, 2]


def test_score_is_the_log_odds_of_the_mean_probability() -> None:
    found = aggregate_rows(Y, KNOWN, SCORES, GROUPS, how="mean").y_score
    for group, rows in enumerate(ROWS_OF.values()):
        expected = [mean_log_odds(SCORES[rows, label].tolist()) for label in range(2)]
        assert found[group] == pytest.approx(expected, abs=1e-12)


def test_score_is_the_highest_log_odds_on_request() -> None:
    found = aggregate_rows(Y, KNOWN, SCORES, GROUPS, how="max").y_score
    expected = [SCORES[rows].max(axis=0) for rows in ROWS_OF.values()]
    np.testing.assert_array_equal(found, expected)


def test_truth_is_1_if_any_known_row_is_and_masked_if_none_is_known() -> None:
    found = aggregate_rows(Y, KNOWN, SCORES, GROUPS)
    assert found.known.tolist() == [[True, False], [True, True], [False, True], [True, True]]
    assert found.y_true.tolist() == [[0, 0], [1, 1], [0, 0], [1, 1]]


@pytest.mark.parametrize("how", ["mean", "max"])
def test_a_row_alone_or_copies_of_it_keep_their_score_to_the_last_bit(how: str) -> None:
    scores = np.random.default_rng(0).normal(size=(50, 1)) * 30
    y = np.zeros((100, 1))
    groups = [f"{i:02d}" for i in range(50)] * 2
    alone = aggregate_rows(y[:50], None, scores, groups[:50], how=how)
    copied = aggregate_rows(y, None, np.tile(scores, (2, 1)), groups, how=how)
    np.testing.assert_array_equal(alone.y_score, scores)
    np.testing.assert_array_equal(copied.y_score, scores)


def test_mean_keeps_apart_what_rounded_probabilities_would_not() -> None:
    scores = np.array([[40.0], [42.0], [41.0], [43.0], [-800.0], [-801.0]])
    found = aggregate_rows(np.zeros((6, 1)), None, scores, ["a", "a", "b", "b", "c", "c"]).y_score
    assert np.isfinite(found).all()
    assert 40 < found[0, 0] < 42
    assert found[1, 0] - found[0, 0] == pytest.approx(1, abs=1e-9)
    assert found[2, 0] == pytest.approx(-800 + np.log((1 + np.exp(-1)) / 2), abs=1e-9)


def test_infinite_scores_are_certain_rows() -> None:
    scores = np.array([[np.inf], [-np.inf], [-np.inf], [-np.inf]])
    found = aggregate_rows(np.zeros((4, 1)), None, scores, ["a", "a", "b", "b"]).y_score
    assert found.ravel().tolist() == [0.0, -np.inf]


@pytest.mark.parametrize("how", ["mean", "max"])
def test_nothing_depends_on_row_order(how: str) -> None:
    rng = np.random.default_rng(0)
    y, known = rng.integers(0, 2, (80, 3)), rng.random((80, 3)) < 0.7
    scores, order = rng.normal(size=(80, 3)), rng.permutation(80)
    groups = [f"p{i}" for i in rng.integers(0, 15, 80)]
    here = aggregate_rows(y, known, scores, groups, how=how)
    there = aggregate_rows(
        y[order], known[order], scores[order], [groups[i] for i in order], how=how
    )
    assert there.groups == here.groups
    for field in ("y_true", "known", "y_score"):
        np.testing.assert_array_equal(getattr(there, field), getattr(here, field))


@pytest.mark.parametrize("how", ["mean", "max"])
def test_a_missing_score_makes_that_of_its_group_missing(how: str) -> None:
    scores = np.array([[np.nan, 1.0], [0.5, 2.0], [0.1, 0.2]])
    found = aggregate_rows(np.zeros((3, 2)), None, scores, ["a", "a", "b"], how=how).y_score
    assert np.isnan(found).tolist() == [[True, False], [False, False]]


def test_classes_stay_one_hot_and_mean_probabilities_add_up_to_1() -> None:
    rng = np.random.default_rng(0)
    log_p = log_softmax(rng.normal(size=(4, 3)), axis=1)
    logits = log_p - np.log1p(-np.exp(log_p))
    y, known = np.eye(3)[[0, 0, 2, 1]], np.array([[True] * 3] * 3 + [[False] * 3])
    found = aggregate_rows(y, known, logits, ["a", "a", "b", "b"], kind="multiclass")
    assert found.y_true.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert found.known.all()
    np.testing.assert_allclose(expit(found.y_score).sum(axis=1), 1, atol=1e-12)


def test_rows_of_one_group_that_name_different_classes_are_refused_by_group() -> None:
    y = np.eye(3)[[0, 1, 2, 2]]
    with pytest.raises(DataError, match=r"1 groups name several, the first is 'study7'"):
        aggregate_rows(y, None, y, ["study7", "study7", "b", "b"], kind="multiclass")


def test_no_rows_give_no_groups() -> None:
    found = aggregate_rows(np.zeros((0, 2)), None, np.zeros((0, 2)), [])
    assert found.groups == ()
    assert found.y_score.shape == (0, 2)


def test_unknown_way_is_refused() -> None:
    with pytest.raises(UsageError, match=r"by `mean` or `max`\. Got 'median'"):
        aggregate_rows(Y, KNOWN, SCORES, GROUPS, how="median")


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(DataError, match=r"shape of the labels, \(7, 2\)"):
        aggregate_rows(Y, KNOWN, SCORES[:, :1], GROUPS)
    with pytest.raises(DataError, match=r"must have 7 entries\. Got 6"):
        aggregate_rows(Y, KNOWN, SCORES, GROUPS[:6])
