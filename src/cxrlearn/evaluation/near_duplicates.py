"""Pictures in two splits that a backbone can hardly tell apart: crops, copies, second exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

SIMILARITY = 0.999
"""Cosine of centred features from which two pictures count as nearly the same."""
_WIDTH = 256
"""Features are projected to this width before all pairs are compared."""
_CANDIDATE = 0.97
"""Projected cosine from which a pair is looked at in full: a projection of 256 numbers moves a
cosine of 0.999 by far less than 0.02 (its standard error is about (1 - cosine²) / 16)."""
_BLOCK = 2048


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
    mean = others.mean(axis=0, dtype=np.float64) if len(others) else 0.0
    a, b = (_directions(rows, mean) for rows in (features, others))
    small_a, small_b = a, b
    if a.shape[1] > _WIDTH:
        projection = np.random.default_rng(seed).standard_normal((a.shape[1], _WIDTH))
        small_a, small_b = (_unit(rows @ projection.astype(np.float32)) for rows in (a, b))
    rows, twins, similarity = [], [], []
    for start in range(0, len(a) if len(b) else 0, _BLOCK):
        near = small_a[start : start + _BLOCK] @ small_b.T
        for row in np.flatnonzero(near.max(axis=1) >= _CANDIDATE):
            candidates = np.flatnonzero(near[row] >= _CANDIDATE)
            exact = b[candidates].astype(np.float64) @ a[start + row].astype(np.float64)
            best = int(exact.argmax())
            if exact[best] >= SIMILARITY:
                rows.append(start + int(row))
                twins.append(int(candidates[best]))
                similarity.append(float(exact[best]))
    return NearDuplicates(
        np.array(rows, dtype=np.intp), np.array(twins, dtype=np.intp), np.array(similarity)
    )


def _directions(
    rows: npt.NDArray[np.floating], mean: npt.NDArray[np.float64] | float
) -> npt.NDArray[np.float32]:
    return _unit((rows - mean).astype(np.float32))


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.zeros_like(rows)
    np.divide(rows, length, out=unit, where=length > 0)
    return unit
