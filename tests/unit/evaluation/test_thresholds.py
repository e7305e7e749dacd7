"""Thresholds that validation chooses: only observed scores, ties in a stated way, null with few."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlearn.errors import DataError, UsageError
from cxrlearn.evaluation import thresholds
from cxrlearn.evaluation.thresholds import Threshold, choose_thresholds, parse_rule

ROWS = st.lists(st.integers(-5, 5).map(float), min_size=10, max_size=30)


def _one(
    positives: list[float], negatives: list[float], rule: str, **options: dict[str, str]
) -> Threshold:
    y = np.array([1] * len(positives) + [0] * len(negatives))[:, None]
    scores = np.array([*positives, *negatives])[:, None]
    return choose_thresholds(
        y, scores, names=["a"], rules=[rule], not_scored=options.get("not_scored")
    )[0][0]


def _rates(positives: list[float], negatives: list[float], t: float) -> tuple[float, float]:
    sensitivity = np.mean([s >= t for s in positives])
    return float(sensitivity), float(np.mean([s < t for s in negatives]))


@given(ROWS, ROWS)
def test_youden_is_the_best_observed_score_and_of_equals_the_most_specific(
    positives: list[float], negatives: list[float]
) -> None:
    found = _one(positives, negatives, "youden").threshold
    by_value = {t: _rates(positives, negatives, t) for t in {*positives, *negatives}}
    best = max(round(sum(rates), 12) for rates in by_value.values())
    equals = [t for t, rates in by_value.items() if round(sum(rates), 12) == best]
    assert found == max(equals)
    assert by_value[max(equals)][1] == max(by_value[t][1] for t in equals)


@given(ROWS, ROWS, st.sampled_from(["0.5", "0.9", "0.95", "1"]))
def test_sensitivity_rule_takes_the_highest_threshold_that_reaches_it(
    positives: list[float], negatives: list[float], target: str
) -> None:
    found = _one(positives, negatives, f"sensitivity>={target}").threshold
    reaching = [
        t for t in {*positives, *negatives} if _rates(positives, negatives, t)[0] >= float(target)
    ]
    assert found == max(reaching)


def test_a_target_that_is_reached_exactly_counts() -> None:
    assert _one([float(i) for i in range(10)], [-1.0] * 10, "sensitivity>=0.9").threshold == 1.0


def test_row_order_and_other_labels_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    y, known = rng.integers(0, 2, (80, 2)), rng.random((80, 2)) < 0.9
    scores = np.round(rng.normal(size=(80, 2)) + y, 1)
    rules, order = ["youden", "sensitivity>=0.8"], rng.permutation(80)
    found = choose_thresholds(y, scores, known=known, names=["a", "b"], rules=rules)
    turned = choose_thresholds(
        y[order, 1:], scores[order, 1:], known=known[order, 1:], names=["b"], rules=rules
    )
    assert [t.rule for t in found[0]] == rules
    assert turned == found[1:]


def test_masked_rows_are_not_seen() -> None:
    y = np.array([[1]] * 10 + [[0]] * 10 + [[-1]])
    scores = np.array([[1.0]] * 10 + [[0.0]] * 10 + [[np.nan]])
    known = y >= 0
    found = choose_thresholds(y, scores, known=known, names=["a"], rules=["youden"])[0][0]
    assert found == Threshold("youden", 1.0, None, 10, 10)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((9, 40), "only 9 positives among 49 known validation rows: a threshold needs 10"),
        ((1, 40), "only 1 positive among 41 known validation rows: a threshold needs 10"),
        ((40, 3), "only 3 negatives among 43 known validation rows: a threshold needs 10"),
        ((0, 0), "only 0 negatives among 0 known validation rows: a threshold needs 10"),
        ((1, 0), "only 0 negatives among 1 known validation row: a threshold needs 10"),
    ],
)
def test_few_validation_rows_choose_nothing_and_say_so(
    counts: tuple[int, int], reason: str
) -> None:
    found = _one([1.0] * counts[0], [0.0] * counts[1], "youden")
    assert found == Threshold("youden", None, reason, *counts)


def test_label_without_scores_says_why() -> None:
    found = _one([np.nan] * 10, [np.nan] * 10, "youden", not_scored={"a": "not fitted"})
    assert (found.threshold, found.reason) == (None, "not fitted")


def test_constant_scores_leave_one_candidate() -> None:
    for rule in ("youden", "sensitivity>=0.5"):
        assert _one([2.0] * 10, [2.0] * 10, rule).threshold == 2.0


def test_infinite_scores_are_no_candidates() -> None:
    assert _one([np.inf] * 9 + [1.0], [-np.inf] * 10, "youden").threshold == 1.0
    found = _one([np.inf] * 10, [-np.inf] * 10, "youden")
    assert (found.threshold, found.reason) == (None, "no finite validation score reaches it")


def test_nan_score_of_a_known_row_is_refused() -> None:
    with pytest.raises(DataError, match="NaN, the first for 'a' in row 0"):
        _one([np.nan] * 10, [0.0] * 10, "youden")


@pytest.mark.parametrize(
    ("text", "sensitivity"),
    [("youden", None), (" Youden ", None), ("sensitivity>=.9", 0.9), ("sensitivity >= 1", 1.0)],
)
def test_rules_are_read_as_people_write_them(text: str, sensitivity: float | None) -> None:
    assert parse_rule(text).sensitivity == sensitivity


@pytest.mark.parametrize(
    "text",
    ["", "best", "sensitivity", "sensitivity>=", "sensitivity>=0", "sensitivity>=90",
     "sensitivity>=90%", "sensitivity>=nan", "sensitivity>0.9", "specificity>=0.9", "youden>=0.9"],
)  # fmt: skip
def test_nonsense_is_refused_in_words(text: str) -> None:
    with pytest.raises(UsageError, match=r"such as `sensitivity>=0\.90`\. Got ") as refused:
        choose_thresholds([[0]], [[0.0]], names=["a"], rules=["youden", text])
    assert repr(text) in str(refused.value)


def test_examples_in_docstrings_are_true() -> None:
    assert doctest.testmod(thresholds).failed == 0
