"""Newcombe's limits from a value and two counts."""

from __future__ import annotations

import numpy as np
import pytest

from cxrlearn.evaluation.newcombe import newcombe_limits

COUNTS = [(1, 1), (2, 300), (10, 10), (50, 20_000)]
AUROCS = [0.0, 0.01, 0.03, 0.5, 0.8, 0.999, 1.0]


def _distance(auroc: float, theta: float, m: int, n: int) -> float:
    """|AUROC - θ| in standard deviations, Hanley and McNeil's Q1 and Q2 spelled out."""
    q1, q2 = theta / (2 - theta), 2 * theta**2 / (1 + theta)
    half = (m + n) / 2 - 1
    variance = (theta * (1 - theta) + half * (q1 - theta**2) + half * (q2 - theta**2)) / (m * n)
    return float(abs(auroc - theta) / np.sqrt(variance))


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("auroc", AUROCS)
@pytest.mark.parametrize("quantile", [0.5, 1.96, 30.0])
def test_limits_lie_the_quantile_away_under_their_own_variance(
    auroc: float, counts: tuple[int, int], quantile: float
) -> None:
    low, high = newcombe_limits(auroc, *counts, quantile=quantile)
    assert 0 <= low <= auroc <= high <= 1
    for limit, end in ((low, 0.0), (high, 1.0)):
        if auroc == end:
            assert limit == end
        else:
            assert 0 < limit < 1
            assert _distance(auroc, limit, *counts) == pytest.approx(
                quantile, rel=1e-4
            )  # limits to 1e-12


@pytest.mark.parametrize("auroc", AUROCS)
def test_limits_are_the_ends_of_one_range_of_compatible_values(auroc: float) -> None:
    for counts in COUNTS:
        for quantile in (1.96, 30.0):
            low, high = newcombe_limits(auroc, *counts, quantile=quantile)
            grid = np.linspace(0.0005, 0.9995, 1000)
            near = np.array([_distance(auroc, theta, *counts) <= quantile for theta in grid])
            assert (near == ((low <= grid) & (grid <= high))).all()


def test_one_minus_the_auroc_with_counts_exchanged_mirrors_the_limits() -> None:
    low, high = newcombe_limits(0.83, 7, 90, quantile=2.2)
    assert newcombe_limits(0.17, 90, 7, quantile=2.2) == pytest.approx((1 - high, 1 - low))


def test_more_rows_and_smaller_quantiles_narrow_the_interval() -> None:
    def width(positives: int, quantile: float) -> float:
        low, high = newcombe_limits(0.8, positives, 200, quantile=quantile)
        return high - low

    assert width(10, 1.96) > width(20, 1.96) > width(100, 1.96)
    assert width(10, 2.5) > width(10, 1.96) > width(10, 1.0)
