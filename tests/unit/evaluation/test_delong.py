"""AUROC inference by formula, against pairwise kernels and cluster sums done by loops."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score

from cxrlearn.evaluation.delong import (
    auroc_interval,
    clustered_covariance,
    paired_auroc_difference,
    paired_auroc_differences,
    structural_components,
)

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]


def _wins(high: float, low: float) -> float:
    return 1.0 if high > low else 0.5 if high == low else 0.0


def _components_by_pairs(positive: Bools, score: Floats) -> tuple[dict[int, float], float]:
    """V10 of every positive row and V01 of every negative one, by the definition; and the AUROC."""
    rows = range(len(score))
    positives, negatives = [i for i in rows if positive[i]], [j for j in rows if not positive[j]]
    components = {
        i: sum(_wins(score[i], score[j]) for j in negatives) / len(negatives) for i in positives
    } | {j: sum(_wins(score[i], score[j]) for i in positives) / len(positives) for j in negatives}
    return components, sum(components[i] for i in positives) / len(positives)


def _covariance_by_loops(positive: Bools, a: Floats, b: Floats, codes: Codes) -> float:
    """Obuchowski's S10 / m + S01 / n + (S11 + S11') / (m n), one cluster after the other."""
    parts = [_components_by_pairs(positive, score) for score in (a, b)]
    m, n = int(positive.sum()), int((~positive).sum())
    s10 = s01 = s11 = 0.0
    with_positives = with_negatives = everywhere = 0
    for cluster in sorted(set(codes.tolist())):
        mine = [row for row in range(len(codes)) if codes[row] == cluster]
        x = [sum(c[i] - auroc for i in mine if positive[i]) for c, auroc in parts]
        y = [sum(c[i] - auroc for i in mine if not positive[i]) for c, auroc in parts]
        s10 += x[0] * x[1]
        s01 += y[0] * y[1]
        s11 += x[0] * y[1] + x[1] * y[0]
        everywhere += 1
        with_positives += any(positive[i] for i in mine)
        with_negatives += any(not positive[i] for i in mine)
    s10 *= with_positives / ((with_positives - 1) * m)
    s01 *= with_negatives / ((with_negatives - 1) * n)
    s11 *= everywhere / (everywhere - 1)
    return s10 / m + s01 / n + s11 / (m * n)


def _study(seed: int, *, ties: bool = True) -> tuple[Bools, Floats, Codes]:
    """80 rows of about 25 patients who hold positives and negatives both; two scores."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 25, 80)
    effect = rng.normal(size=(3, 25))[:, codes]
    positive = effect[0] + rng.normal(size=80) > 0.8
    scores = effect[1:] + 0.7 * positive + rng.normal(size=(2, 80))
    return positive, np.round(scores, 0 if ties else 12), codes


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_components_are_shares_of_won_pairs(seed: int, *, ties: bool) -> None:
    positive, scores, _ = _study(seed, ties=ties)
    found = structural_components(positive, scores)
    for k, score in enumerate(scores):
        expected, auroc = _components_by_pairs(positive, score)
        v10, v01 = found.beaten[k] / (~positive).sum(), found.beaten_by[k] / positive.sum()
        assert v10 == pytest.approx([expected[i] for i in np.flatnonzero(positive).tolist()])
        assert v01 == pytest.approx([expected[j] for j in np.flatnonzero(~positive).tolist()])
        assert found.aurocs[k] == pytest.approx(auroc) == roc_auc_score(positive, score)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_covariance_is_obuchowskis(seed: int, *, ties: bool) -> None:
    positive, scores, codes = _study(seed, ties=ties)
    found = clustered_covariance(structural_components(positive, scores), positive, codes)
    for a in range(2):
        for b in range(2):
            expected = _covariance_by_loops(positive, scores[a], scores[b], codes)
            assert found[a, b] == pytest.approx(expected)


def test_one_row_a_cluster_is_delongs_covariance() -> None:
    positive, scores, _ = _study(0)
    components = structural_components(positive, scores)
    m, n = positive.sum(), (~positive).sum()
    delong = np.cov(components.beaten / n) / m + np.cov(components.beaten_by / m) / n
    alone = np.random.default_rng(0).permutation(len(positive)) * 3
    found = clustered_covariance(components, positive, alone)
    assert found == pytest.approx(delong)


def test_six_rows_by_hand() -> None:
    # Positives 1, 3, 4 and negatives 0, 2, 3: won pairs 1, 2.5, 3 of 3, so the AUROC is 6.5 / 9.
    # V10 = 1/3, 5/6, 1 and V01 = 1, 2/3, 1/2, both with mean 13/18 and squared deviations
    # (7/18)^2 + (2/18)^2 + (5/18)^2 = 78/324 and (5/18)^2 + (1/18)^2 + (4/18)^2 = 42/324.
    positive = np.array([True, True, True, False, False, False])
    score = np.array([1.0, 3, 4, 0, 2, 3])
    found = auroc_interval(positive, score, np.arange(6))
    assert found.auroc == pytest.approx(6.5 / 9)
    assert found.standard_error == pytest.approx(math.sqrt((78 + 42) / 324 / 2 / 3))
    assert found.design_effect == 1
    # Patients (positive 1 with negative 0) and so on: the cross products -7/18 * 5/18,
    # 2/18 * -1/18, 5/18 * -4/18 enter twice, times 3/2 over 9.
    paired = auroc_interval(positive, score, np.array([0, 1, 2, 0, 1, 2]))
    variance = 120 / 324 / 6 + 2 * 1.5 * (-35 - 2 - 20) / 324 / 9
    assert paired.standard_error == pytest.approx(math.sqrt(variance))


def test_copies_of_every_row_give_the_interval_more_width_and_the_same_error() -> None:
    positive, scores, _ = _study(1)
    once = auroc_interval(positive, scores[0], np.arange(80))
    copied = auroc_interval(np.tile(positive, 4), np.tile(scores[0], 4), np.tile(np.arange(80), 4))
    assert copied.auroc == once.auroc
    assert copied.standard_error == pytest.approx(once.standard_error)
    assert copied.design_effect == pytest.approx(4, rel=0.1)  # plain DeLong divides by m - 1
    assert copied.low == pytest.approx(once.low, abs=0.02)
    assert copied.high == pytest.approx(once.high, abs=0.02)


def test_limits_are_newcombes_widened_by_the_design_effect_and_t() -> None:
    positive, scores, codes = _study(2)
    found = auroc_interval(positive, scores[0], codes)
    assert found.auroc is not None
    assert found.design_effect is not None
    assert found.design_effect > 1
    m, n = int(positive.sum()), int((~positive).sum())
    patients = min(len(set(codes[positive])), len(set(codes[~positive])))
    width = t.ppf(0.975, patients - 1) * math.sqrt(found.design_effect)
    for limit in (found.low, found.high):
        assert limit is not None
        q = limit * (1 - limit) / (m * n)
        variance = q * (1 + ((m + n) / 2 - 1) * ((1 - limit) / (2 - limit) + limit / (1 + limit)))
        assert abs(found.auroc - limit) == pytest.approx(width * math.sqrt(variance))


def test_row_order_does_not_matter_to_the_last_bit() -> None:
    positive, scores, codes = _study(3)
    order = np.random.default_rng(1).permutation(80)
    turned = positive[order], codes[order]
    assert auroc_interval(turned[0], scores[0][order], turned[1]) == auroc_interval(
        positive, scores[0], codes
    )
    assert paired_auroc_difference(
        turned[0], scores[0][order], scores[1][order], turned[1]
    ) == paired_auroc_difference(positive, scores[0], scores[1], codes)


def test_monotone_transform_does_not_matter() -> None:
    positive, scores, codes = _study(4)
    assert auroc_interval(positive, np.exp(scores[0]), codes) == auroc_interval(
        positive, scores[0], codes
    )


def test_infinite_scores_rank_as_extremes() -> None:
    positive, scores, codes = _study(4)
    infinite = scores.copy()
    infinite[scores == scores.max()] = np.inf
    infinite[scores == scores.min()] = -np.inf
    assert auroc_interval(positive, infinite[0], codes) == auroc_interval(
        positive, scores[0], codes
    )


def test_swapping_the_classes_mirrors_the_interval() -> None:
    positive, scores, codes = _study(5)
    found = auroc_interval(positive, scores[0], codes)
    mirrored = auroc_interval(~positive, scores[0], codes)
    assert found.low is not None
    assert found.high is not None
    assert found.auroc is not None
    assert [mirrored.low, mirrored.auroc, mirrored.high] == pytest.approx(
        [1 - found.high, 1 - found.auroc, 1 - found.low]
    )
    assert mirrored.standard_error == pytest.approx(found.standard_error)


@pytest.mark.parametrize("auroc", [0, 1])
def test_perfect_order_counts_rows_of_a_patient_as_copies(auroc: int) -> None:
    positive = np.arange(60) < 24
    score = np.where(positive, 1.0, 0.0) * (1 if auroc else -1)
    alone = auroc_interval(positive, score, np.arange(60))
    shared = auroc_interval(positive, score, np.repeat(np.arange(30), 2))
    assert alone.auroc == shared.auroc == auroc
    assert [alone.design_effect, shared.design_effect] == [1, 2]
    assert alone.low is not None
    assert alone.high is not None
    assert shared.low is not None
    assert shared.high is not None
    assert max(alone.low, 1 - alone.high) > 0.7
    assert shared.high - shared.low > 1.5 * (alone.high - alone.low)
    assert alone.caution is not None
    assert "no row breaks the order" in alone.caution


def test_one_score_for_all_rows_is_one_half_with_an_interval() -> None:
    positive = np.arange(40) < 20
    found = auroc_interval(positive, np.zeros(40), np.arange(40))
    assert found.auroc == 0.5
    assert found.low is not None
    assert found.low == pytest.approx(0.5 - (found.high or 0) + 0.5)
    assert 0.2 < found.low < 0.4


@pytest.mark.parametrize(
    ("positive", "codes", "reason"),
    [
        ([False, False], [0, 1], "no positives among 2 known rows"),
        ([], [], "no known rows"),
    ],
)
def test_a_missing_class_has_no_auroc(positive: list[bool], codes: list[int], reason: str) -> None:
    arguments = np.array(positive, bool), np.zeros(len(codes)), np.array(codes, np.intp)
    found = auroc_interval(*arguments)
    assert (found.auroc, found.low, found.reason) == (None, None, reason)
    pair = paired_auroc_difference(arguments[0], arguments[1], arguments[1], arguments[2])
    assert (pair.difference, pair.p_value, pair.reason) == (None, None, reason)


@pytest.mark.parametrize("turn", [False, True])
def test_one_patient_of_a_class_has_an_auroc_and_no_interval(*, turn: bool) -> None:
    positive = np.array([True, True, False, False, False]) ^ turn
    codes, score = np.array([0, 0, 1, 2, 3]), np.array([3.0, 1, 2, 0, 0])
    found = auroc_interval(positive, score, codes)
    which = "negative" if turn else "positive"
    assert found.auroc == pytest.approx(1 / 6 if turn else 5 / 6)
    assert found.low is found.standard_error is found.design_effect is None
    assert found.reason == f"no interval: all {which} rows are of one patient"
    pair = paired_auroc_difference(positive, score, -score, codes, unit="image")
    assert pair.difference == pytest.approx(-2 / 3 if turn else 2 / 3)
    assert pair.reason == f"no interval: all {which} rows are of one image"


def test_few_patients_carry_a_caution() -> None:
    positive, scores, _ = _study(6)
    codes = np.where(positive, np.cumsum(positive) % 4, 4 + np.arange(80))
    found = auroc_interval(positive, scores[0], codes)
    assert found.caution == "only 4 positive patients: the interval rests on very few"
    pair = paired_auroc_difference(positive, scores[0], scores[1], codes)
    assert pair.caution == "only 4 positive patients: the test rests on very few"


def test_paired_difference_is_obuchowskis_with_t() -> None:
    positive, scores, codes = _study(7)
    found = paired_auroc_difference(positive, scores[0], scores[1], codes)
    expected = roc_auc_score(positive, scores[0]) - roc_auc_score(positive, scores[1])
    error = math.sqrt(
        _covariance_by_loops(positive, scores[0], scores[0], codes)
        + _covariance_by_loops(positive, scores[1], scores[1], codes)
        - 2 * _covariance_by_loops(positive, scores[0], scores[1], codes)
    )
    # Kish: n patients of equal size count as n, unequal ones as fewer.
    sizes = [list(Counter(codes[part].tolist()).values()) for part in (positive, ~positive)]
    patients = min(sum(of) ** 2 / sum(rows**2 for rows in of) for of in sizes)
    assert found.difference == pytest.approx(expected)
    assert found.standard_error == pytest.approx(error)
    assert found.z == pytest.approx(expected / error)
    assert found.p_value == pytest.approx(2 * t.sf(abs(expected / error), patients - 1))
    half = t.ppf(0.975, patients - 1) * error
    assert [found.low, found.high] == pytest.approx([expected - half, expected + half])


def test_exchanging_the_models_turns_the_sign() -> None:
    positive, scores, codes = _study(8)
    one = paired_auroc_difference(positive, scores[0], scores[1], codes)
    other = paired_auroc_difference(positive, scores[1], scores[0], codes)
    assert one.difference is not None
    assert one.z is not None
    assert one.low is not None
    assert other.difference == -one.difference
    assert other.z == -one.z
    assert other.high == -one.low
    assert (other.p_value, other.standard_error) == (one.p_value, one.standard_error)


def test_models_that_rank_alike_differ_by_zero_and_are_not_tested() -> None:
    positive, scores, codes = _study(9)
    found = paired_auroc_difference(positive, scores[0], 2 * scores[0] - 3, codes)
    assert (found.difference, found.standard_error) == (0, 0)
    assert found.z is found.p_value is found.low is None
    assert found.reason == "no test: the difference does not vary between patients"


def test_many_models_are_compared_as_two_at_a_time() -> None:
    positive, scores, codes = _study(10)
    models = np.vstack([scores, np.random.default_rng(0).normal(size=(2, 80))])
    found = paired_auroc_differences(positive, models, codes)
    for difference, (a, b) in zip(found, combinations(range(4), 2), strict=True):
        alone = paired_auroc_difference(positive, models[a], models[b], codes)
        assert difference.difference == alone.difference
        assert difference.p_value == pytest.approx(alone.p_value)


def _drawn(seed: int) -> tuple[Bools, Floats, Codes]:
    """10 positive and 100 negative patients of one to five images; both scores equally good."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(110), rng.integers(1, 6, 110))
    positive = codes < 10
    scores = np.sqrt(2) * norm.ppf(0.8) * positive + np.sqrt(0.5) * (
        rng.normal(size=(2, 110))[:, codes] + rng.normal(size=(2, len(codes)))
    )
    return positive, scores, codes


@pytest.mark.slow
def test_coverage_and_type_i_error_are_near_what_is_promised() -> None:
    covered = rejected = rejected_by_rows = 0
    for seed in range(600):
        positive, scores, codes = _drawn(seed)
        found = auroc_interval(positive, scores[0], codes)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.8 <= found.high
        pair = paired_auroc_difference(positive, scores[0], scores[1], codes)
        rows = paired_auroc_difference(positive, scores[0], scores[1], np.arange(len(codes)))
        assert pair.p_value is not None
        assert rows.p_value is not None
        rejected += pair.p_value < 0.05
        rejected_by_rows += rows.p_value < 0.05
    # 93 to 98.5 %, and at most 7 %, each with three standard errors at 600 sets.
    assert 0.90 * 600 <= covered <= 0.995 * 600
    assert rejected <= 0.10 * 600
    assert rejected_by_rows > 0.15 * 600
