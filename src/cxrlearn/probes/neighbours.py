"""Exact nearest rows by cosine similarity, in blocks, ties to the lower index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrlearn.probes.model import row_products

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxrlearn.probes.model import FloatArray

BLOCK_BYTES = 64 * 2**20
"""Size of one block of similarities, and of one block of rows in float64."""


def unit_rows(matrix: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return each row divided by its length; a row of zeros stays, and is similar to nothing."""
    units = np.empty(matrix.shape, dtype=np.float32)
    for rows in _blocks(len(matrix), matrix.shape[1]):
        units[rows] = _unit(matrix[rows])
    return units


def similarities(
    units: npt.NDArray[np.float32], queries: npt.NDArray[np.floating]
) -> Iterator[tuple[slice, FloatArray]]:
    """Yield cosine similarities (n, N) in float64 of blocks of queries to all unit rows.

    Equal unit rows get equal similarities to the last bit, which a matrix product does not
    promise: each is computed once.

    Args:
        units: (N, D) of `unit_rows`, N ≥ 1.
        queries: (Q, D) of any length.
    """
    distinct, place = _distinct(units)
    for rows in _blocks(len(queries), len(units)):
        block = _unit(queries[rows])
        similarity = np.empty((len(block), len(distinct)))
        for part in _blocks(len(distinct), units.shape[1]):
            similarity[:, part] = row_products(block, units[distinct[part]].astype(np.float64))
        yield rows, similarity if len(distinct) == len(units) else similarity[:, place]


def nearest(similarity: FloatArray, count: int) -> npt.NDArray[np.intp]:
    """Return the positions (n, min(count, N)) of the largest, falling; of equal ones the lower."""
    size = similarity.shape[1]
    if count >= size:
        return np.argsort(-similarity, axis=1, kind="stable")
    found = np.empty((len(similarity), count), dtype=np.intp)
    least = np.partition(similarity, size - count, axis=1)[:, size - count]
    for number, row in enumerate(similarity):
        candidates = np.flatnonzero(row >= least[number])  # rising, and more than count on ties
        order = np.argsort(-row[candidates], kind="stable")[:count]
        found[number] = candidates[order]
    return found


def _unit(rows: npt.NDArray[np.floating]) -> FloatArray:
    wide = rows.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(length > 0, length, 1.0)


def _distinct(
    units: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return positions of distinct rows, rising, and for every row where in them it stands."""
    packed = np.ascontiguousarray(units + np.float32(0))  # -0.0 + 0.0 is 0.0: equal, bit by bit
    keys = packed.view(np.dtype((np.void, packed.dtype.itemsize * packed.shape[1]))).ravel()
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[place]


def _blocks(count: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK_BYTES // (8 * max(1, width)))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
