"""Nested random subsets of the training patients, for label-efficiency curves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class PatientOrder:
    """The patients of a training set in one random order; every subset is a part of it.

    Subsets of one order are nested: more patients always include the fewer ones. Images without a
    patient count as patients of their own. All images of a patient come along, or none. The order
    of rows decides nothing.
    """

    def __init__(
        self,
        patients: Sequence[str | None],
        image_ids: Sequence[str],
        *,
        seed: int,
        repeat: int,
    ) -> None:
        """Draw the order of repeat number `repeat`."""
        # The mark keeps the id of an image from being taken for the patient of another.
        keys = [
            f"image\0{image}" if patient is None else patient
            for patient, image in zip(patients, image_ids, strict=True)
        ]
        codes = {key: code for code, key in enumerate(sorted(set(keys)))}
        self._owner = np.array([codes[key] for key in keys], dtype=np.intp)
        rng = np.random.default_rng([seed, repeat])
        self._rank = np.empty(len(codes), dtype=np.intp)
        self._rank[rng.permutation(len(codes))] = np.arange(len(codes))

    @property
    def count(self) -> int:
        """Number of patients."""
        return len(self._rank)

    def fraction(self, share: float) -> NDArray[np.intp]:
        """Return the rows of the first `share` of the patients, rounded up, ascending."""
        # Less the rounding of products such as 0.07 · 100, but never no patient at all.
        wanted = max(1, math.ceil(share * self.count * (1 - 1e-12)))
        return np.flatnonzero(self._rank[self._owner] < wanted)

    def shots(
        self, positive: NDArray[np.bool_], negative: NDArray[np.bool_], count: int
    ) -> NDArray[np.intp]:
        """Return the rows of `count` positive and `count` negative patients of every label.

        Each label takes the first such patients in the order; a patient whom one label takes
        counts for all. So a label may see more, never fewer, unless there are no more.

        Args:
            positive: (N, L) known to be positive.
            negative: (N, L) known to be negative.
            count: patients of either kind.
        """
        taken = np.zeros(self.count, dtype=bool)
        for flags in (*positive.T, *negative.T):
            owners = np.unique(self._owner[flags])
            first = owners[np.argsort(self._rank[owners])][:count]
            taken[first] = True
        return np.flatnonzero(taken[self._owner])
