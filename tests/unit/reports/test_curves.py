"""Points of curves: the area below them is the metric, and thinning does not move them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, roc_auc_score, roc_curve

from cxrlearn.reports.curves import GRID, pr_points, roc_points, thin


def sample(seed: int, rows: int, distinct: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(rows) < 0.3
    positive[:2] = True, False
    return positive, rng.integers(0, distinct, rows) + 0.5 * positive


SAMPLES = [(0, 60, 7), (1, 200, 10**6), (2, 3, 2), (3, 2, 1), (4, 25_000, 10**6)]


@pytest.mark.parametrize("shape", SAMPLES)
def test_areas_are_auroc_and_average_precision(shape: tuple[int, int, int]) -> None:
    positive, score = sample(*shape)
    false, true = roc_points(positive, score)
    assert auc(false, true) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)
    recall, precision = pr_points(positive, score)
    area = (np.diff(recall, prepend=0) * precision).sum()
    assert area == pytest.approx(average_precision_score(positive, score), abs=1e-12)


def test_every_threshold_of_scikit_learn_is_a_point() -> None:
    positive, score = sample(0, 60, 7)
    false, true, _ = roc_curve(positive, score, drop_intermediate=False)
    np.testing.assert_allclose(roc_points(positive, score), (false, true), atol=1e-15)


def test_infinite_scores_rank() -> None:
    false, true = roc_points(np.array([True, False, True]), np.array([np.inf, 0.0, -np.inf]))
    assert (false.tolist(), true.tolist()) == ([0, 0, 1, 1], [0, 0.5, 0.5, 1])


@pytest.mark.parametrize("shape", SAMPLES)
def test_thinning_keeps_the_ends_and_moves_nothing_by_more_than_a_grid_step(
    shape: tuple[int, int, int],
) -> None:
    x, y = roc_points(*sample(*shape))
    thin_x, thin_y = thin(x, y)
    assert (thin_x[0], thin_y[0], thin_x[-1], thin_y[-1]) == (0, 0, 1, 1)
    assert len(thin_x) <= min(len(x), 2 * GRID + 2)
    for kept in range(0, len(x), max(1, len(x) // 50)):
        away = np.maximum(abs(thin_x - x[kept]), abs(thin_y - y[kept])).min()
        assert away <= 1 / GRID
