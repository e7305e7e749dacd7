"""Features with labels, some unknown: checked once, and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from cxrlearn.errors import DataError
from cxrlearn.probes.model import LabelFit, check_features, why_not_fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

BoolArray = npt.NDArray[np.bool_]


class Counts(NamedTuple):
    """Known rows of each label, (L,) each."""

    positive: npt.NDArray[np.int64]
    negative: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Labelled:
    """One split, or some of its rows and labels."""

    features: npt.NDArray[np.floating]
    """(N, D) finite."""
    positive: BoolArray
    """(N, L); False where not known. Multi-class: one-hot."""
    known: BoolArray
    """(N, L)."""

    @classmethod
    def of(
        cls,
        features: npt.ArrayLike,
        values: npt.ArrayLike,
        known: npt.ArrayLike,
        *,
        labels: int,
        ids: Sequence[str] | None = None,
    ) -> Labelled:
        """Check features (N, D), values (N, labels) of 0 and 1 where known, and known (N, labels).

        Raises:
            DataError: shapes differ, or features are NaN or infinite: how many, and the first id.
        """
        matrix = check_features(features, ids)
        truth, mask = np.asarray(values), np.asarray(known, dtype=bool)
        if truth.shape != (len(matrix), labels) or mask.shape != truth.shape:
            raise DataError(
                f"Labels and their mask must have shape {(len(matrix), labels)}, rows by labels. "
                f"Got {truth.shape} and {mask.shape} instead."
            )
        return cls(matrix, (truth == 1) & mask, mask)

    def counts(self) -> Counts:
        """Count known rows; multi-class: negatives are the known rows of other classes."""
        positives = self.positive.sum(axis=0, dtype=np.int64)
        return Counts(positives, self.known.sum(axis=0, dtype=np.int64) - positives)

    def part(self, columns: npt.NDArray[np.intp]) -> Labelled:
        """Return these labels of the rows where one of them is known."""
        positive, known = self.positive[:, columns], self.known[:, columns]
        rows = np.flatnonzero(known.any(axis=1))
        if len(rows) == len(known):
            return Labelled(self.features, positive, known)  # features are not copied
        return Labelled(self.features[rows], positive[rows], known[rows])

    def accounts(self, names: Sequence[str], iterations: int | None) -> tuple[LabelFit, ...]:
        """Account for each label as train, fitted without C in so many iterations."""
        counts = self.counts()
        each = zip(names, counts.positive.tolist(), counts.negative.tolist(), strict=True)
        accounts = []
        for name, positives, negatives in each:
            reason = why_not_fitted(positives, negatives)
            accounts.append(
                LabelFit(
                    name=name,
                    C=None,
                    iterations=None if reason else iterations,
                    converged=None,
                    positives=positives,
                    negatives=negatives,
                    reason=reason,
                    notes=(),
                )
            )
        return tuple(accounts)

    def fittable(self) -> npt.NDArray[np.intp]:
        """Return the positions of the labels with both classes among their known rows."""
        counts = self.counts()
        return np.flatnonzero((counts.positive > 0) & (counts.negative > 0))
