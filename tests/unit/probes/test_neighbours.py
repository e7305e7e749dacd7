"""Exact neighbours: scikit-learn agrees, ties go to the lower index, blocks do not show."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from cxrlearn.probes import neighbours
from cxrlearn.probes.neighbours import nearest, similarities, unit_rows


def test_neighbours_and_similarities_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    train, queries = rng.normal(size=(300, 17)) + 0.5, rng.normal(size=(40, 17)) * 3 + 0.5
    oracle = NearestNeighbors(n_neighbors=25, metric="cosine", algorithm="brute").fit(train)
    distance, expected = oracle.kneighbors(queries)
    units = unit_rows(train)
    found = np.vstack([block for _, block in similarities(units, queries)])
    order = nearest(found, 25)
    np.testing.assert_array_equal(order, expected)
    np.testing.assert_allclose(np.take_along_axis(found, order, axis=1), 1 - distance, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 9])
def test_of_equal_similarities_the_lower_index_comes_first(count: int) -> None:
    similarity = np.array([[0.5, 0.9, 0.5, 0.9, 0.1, 0.5], [0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]])
    expected = [[1, 3, 0, 2, 5, 4], [0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]]
    np.testing.assert_array_equal(nearest(similarity, count), np.array(expected)[:, :count])


def test_duplicates_are_equally_similar_to_the_last_bit() -> None:
    rng = np.random.default_rng(1)
    row = rng.normal(size=(1, 1001)).astype(np.float32)
    others = rng.normal(size=(90, 1001)).astype(np.float32)
    train = np.vstack([others[:7], row, others[7:50], row, row, others[50:], -row, 4 * row])
    units = unit_rows(train)
    ((_, found),) = similarities(units, rng.normal(size=(5, 1001)))
    copies = [7, 51, 52, len(train) - 1]
    for column in copies:
        np.testing.assert_array_equal(found[:, column], found[:, 7])
    ((_, own),) = similarities(units, row)
    np.testing.assert_array_equal(nearest(own, 4), [copies])


def test_the_size_of_blocks_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    train, queries = rng.normal(size=(50, 8)), rng.normal(size=(23, 8))
    train[31] = train[4]
    whole = np.vstack([block for _, block in similarities(unit_rows(train), queries)])
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 8 * 50 * 3)
    blocks = list(similarities(unit_rows(train), queries))
    assert [rows.stop - rows.start for rows, _ in blocks] == [3] * 7 + [2]
    np.testing.assert_allclose(np.vstack([block for _, block in blocks]), whole, atol=1e-14)


def test_a_row_of_zeros_is_similar_to_nothing() -> None:
    train = np.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_array_equal(unit_rows(train), np.array([[0, 0], [0.6, 0.8]], np.float32))
    ((_, found),) = similarities(unit_rows(train), np.array([[1.0, 0.0], [0.0, 0.0]]))
    np.testing.assert_allclose(found, np.array([[0, 0.6], [0, 0]]), atol=1e-7)
