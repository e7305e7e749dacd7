"""Pictures in two splits that a backbone can hardly tell apart: crops, copies, second exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

SIMILARITY = 0.999
"""Cosine of centred features from which two pictures count as nearly the same."""
_WIDTH = 256
"""Features are projected to this width before all pairs are compared."""
_CANDIDATE = 0.99
"""Projected cosine from which a pair is looked at in full: a projection to 256 numbers moves a
cosine of 0.999 by a standard error of (1 - 0.999²) / 16, about 0.0001."""
_MOST = 32
"""Rows looked at in full for each row, the most alike by projection. Where more than these are
candidates, the features hardly tell pictures apart at all."""
_BLOCK = 1024
"""Rows of either side that are compared at once."""


@dataclass(frozen=True)
class NearDuplicates:
    """Rows of one split with a near twin in the other."""

    rows: npt.NDArray[np.intp]
    """Positions in the first split, ascending."""
    twins: npt.NDArray[np.intp]
    """The most similar row of the second split, for each."""
    similarity: npt.NDArray[np.float64]
    """Cosine of centred features, for each."""


def near_duplicates(
    features: npt.NDArray[np.floating], others: npt.NDArray[np.floating], *, seed: int = 0
) -> NearDuplicates:
    """Find rows whose cosine with a row of `others` is at least 0.999, about the mean of others.

    Candidates are found on a random projection (Johnson and Lindenstrauss 1984) and confirmed on
    all features. Rows that do not differ from the mean have no direction and are no duplicates.
    This is a hint, not a proof: it sees with the backbone's eyes.

    Args:
        features: (N, D) finite.
        others: (M, D) finite.
        seed: of the projection.
    """
    mean = others.mean(axis=0, dtype=np.float64) if len(others) else np.zeros(others.shape[1])
    projection = None
    if features.shape[1] > _WIDTH:
        drawn = np.random.default_rng(seed).standard_normal((features.shape[1], _WIDTH))
        projection = drawn.astype(np.float32)
    small = _small(others, mean, projection)
    rows, twins, similarity = [], [], []
    for start in range(0, len(features) if len(others) else 0, _BLOCK):
        block = features[start : start + _BLOCK]
        for row, candidates in _candidates(_small(block, mean, projection), small):
            own = _directions(block[row : row + 1], mean)[0].astype(np.float64)
            exact = _directions(others[candidates], mean).astype(np.float64) @ own
            best = int(exact.argmax())
            if exact[best] >= SIMILARITY:
                rows.append(start + row)
                twins.append(int(candidates[best]))
                similarity.append(float(exact[best]))
    return NearDuplicates(
        np.array(rows, dtype=np.intp), np.array(twins, dtype=np.intp), np.array(similarity)
    )


def _small(
    rows: npt.NDArray[np.floating],
    mean: npt.NDArray[np.float64],
    projection: npt.NDArray[np.float32] | None,
) -> npt.NDArray[np.float32]:
    """Return directions (N, at most 256), block by block: the matrix is never held twice."""
    width = rows.shape[1] if projection is None else projection.shape[1]
    small = np.empty((len(rows), width), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = _directions(rows[start : start + _BLOCK], mean)
        small[start : start + _BLOCK] = part if projection is None else _unit(part @ projection)
    return small


def _candidates(
    block: npt.NDArray[np.float32], small: npt.NDArray[np.float32]
) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Yield rows of a block (n, 256) with the rows of `small` (M, 256) most like them, rising."""
    found: dict[int, list[tuple[float, int]]] = {}
    for start in range(0, len(small), _BLOCK):
        near = block @ small[start : start + _BLOCK].T
        for row in np.flatnonzero(near.max(axis=1) >= _CANDIDATE).tolist():
            columns = np.flatnonzero(near[row] >= _CANDIDATE)
            best = columns[np.argsort(-near[row, columns], kind="stable")][:_MOST]
            merged = found.get(row, []) + [(-float(near[row, c]), start + int(c)) for c in best]
            found[row] = sorted(merged)[:_MOST]
    for row in sorted(found):
        yield row, np.array(sorted(number for _, number in found[row]), dtype=np.intp)


def _directions(
    rows: npt.NDArray[np.floating], mean: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    return _unit((rows - mean).astype(np.float32))


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.zeros_like(rows)
    np.divide(rows, length, out=unit, where=length > 0)
    return unit
