"""AUROC the slow way: pairs counted one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def auroc_by_pairs(y_true: Sequence[int], y_score: Sequence[float]) -> float | None:
    """Count won pairs, ties as one half; None without a pair."""
    positives = [s for y, s in zip(y_true, y_score, strict=True) if y == 1]
    negatives = [s for y, s in zip(y_true, y_score, strict=True) if y == 0]
    pairs = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    return sum(pairs) / len(pairs) if pairs else None
