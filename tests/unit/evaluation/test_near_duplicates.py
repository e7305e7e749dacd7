"""Near duplicates: found by brute force, too; a wide matrix is projected and finds the same."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cxrlearn.evaluation.near_duplicates import NearDuplicates, near_duplicates

Matrix = NDArray[np.float32]


def brute_force(features: Matrix, others: Matrix) -> tuple[list[int], list[int]]:
    """Compare every pair in float64."""
    mean = others.astype(np.float64).mean(axis=0)
    rows, twins = [], []
    for number, row in enumerate(features.astype(np.float64) - mean):
        cosines = [
            row @ other / (np.linalg.norm(row) * np.linalg.norm(other))
            for other in others.astype(np.float64) - mean
        ]
        if max(cosines) >= 0.999:
            rows.append(number)
            twins.append(int(np.argmax(cosines)))
    return rows, twins


def sets(dim: int, *, seed: int = 0, count: int = 300) -> tuple[Matrix, Matrix]:
    """Return rows about a common mean, 10 of the first nearly copies of one of the second."""
    rng = np.random.default_rng(seed)
    spectrum = np.geomspace(1, 0.02, dim)
    shift = 3 * rng.random(dim)
    features, others = (shift + spectrum * rng.normal(size=(n, dim)) for n in (count, 2 * count))
    noise = np.linspace(0.005, 0.1, 10)[:, None]  # on both sides of 0.999
    features[5:15] = others[40:50] + noise * spectrum * rng.normal(size=(10, dim))
    return features.astype(np.float32), others.astype(np.float32)


def pairs(found: NearDuplicates) -> tuple[list[int], list[int]]:
    return found.rows.tolist(), found.twins.tolist()


@pytest.mark.parametrize("dim", [48, 256, 257, 600])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_brute_force_finds_the_same(dim: int, seed: int) -> None:
    features, others = sets(dim, seed=seed)
    found = near_duplicates(features, others)
    assert pairs(found) == brute_force(features, others)
    assert 3 <= len(found.rows) < 10
    assert (found.similarity >= 0.999).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_seed_of_the_projection_does_not_matter(seed: int) -> None:
    features, others = sets(600)
    assert pairs(near_duplicates(features, others, seed=seed)) == pairs(
        near_duplicates(features, others)
    )


def test_exact_copies_are_found_wherever_they_stand_in_sets_of_several_blocks() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2100, 64)).astype(np.float32)
    others = rng.normal(size=(3100, 64)).astype(np.float32)
    here, there = [0, 1023, 1024, 2099], [3099, 1023, 0, 2048]
    others[there] = features[here]
    found = near_duplicates(features, others)
    assert pairs(found) == (here, there)
    np.testing.assert_allclose(found.similarity, 1, atol=1e-6)


def test_scaled_deviations_from_the_mean_are_found() -> None:
    features, others = sets(300, seed=5)
    mean = others.mean(axis=0)
    features[7] = mean + 4 * (others[100] - mean)
    features[8] = mean - (others[101] - mean)  # the opposite, not a copy
    found = near_duplicates(features, others)
    assert found.twins[found.rows == 7].tolist() == [100]
    assert 8 not in found.rows


def test_a_common_offset_makes_nothing_alike() -> None:
    rng = np.random.default_rng(0)
    features, others = (1000 + rng.normal(size=(200, 100)) for _ in range(2))
    assert len(near_duplicates(features, others).rows) == 0


def test_of_many_copies_one_is_named() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(5, 80)).astype(np.float32)
    others = np.vstack([rng.normal(size=(100, 80)), np.repeat(features[2:3], 60, axis=0)])
    found = near_duplicates(features, others.astype(np.float32))
    assert found.rows.tolist() == [2]
    assert found.twins[0] >= 100


def test_rows_at_the_mean_have_no_twin() -> None:
    others = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], dtype=np.float32)
    assert len(near_duplicates(np.zeros((3, 3), np.float32), others).rows) == 0


@pytest.mark.parametrize(("rows", "others"), [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("dim", [4, 300])
def test_empty_sets_have_no_duplicates(rows: int, others: int, dim: int) -> None:
    found = near_duplicates(np.ones((rows, dim), np.float32), np.ones((others, dim), np.float32))
    assert pairs(found) == ([], [])
    assert found.similarity.shape == (0,)
