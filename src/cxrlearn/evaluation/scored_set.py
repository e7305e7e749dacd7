"""One set of one model: labels, scores and patients, checked together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrlearn.evaluation.inputs import (
    BoolArray,
    Clusters,
    FloatArray,
    Truth,
    check_scores,
    check_truth,
    cluster_rows,
)
from cxrlearn.evaluation.intervals import Owners
from cxrlearn.evaluation.metrics import why_undefined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class ScoredSet:
    """N rows of L labels."""

    names: tuple[str, ...]
    """L labels or classes."""
    truth: Truth
    """Labels and mask of (N, L)."""
    scores: FloatArray
    """(N, L) log-odds; not NaN where a label is known and scored."""
    clusters: Clusters
    """Which rows are of one patient."""
    not_scored: Mapping[str, str]
    """Labels whose scores do not exist, with the reason."""

    def counts(self, label: int) -> tuple[int, int]:
        """Return the known positive and negative rows of a label."""
        return int(self.truth.positive[:, label].sum()), int(self.truth.negative[:, label].sum())

    def owners(self, label: int) -> tuple[int, int]:
        """Return how many patients have a positive row of a label, and how many a negative one."""
        positive, negative = self.truth.positive[:, label], self.truth.negative[:, label]
        codes = self.clusters.codes
        return _different(codes[positive]), _different(codes[negative])

    def owners_of(self, label: int) -> Owners:
        """Return how many patients an interval of a label rests on."""
        return Owners(*self.owners(label), self.clusters.unit)

    def why_unranked(self, label: int) -> str | None:
        """Say why a label has no AUROC; None where it has."""
        return self.not_scored.get(self.names[label]) or why_undefined(*self.counts(label))

    def why_unscored(self, label: int) -> str | None:
        """Say why a label has no row with truth and score; None where it has some."""
        known = self.truth.known[:, label].any()
        return self.not_scored.get(self.names[label]) or (None if known else "no known rows")

    def ranked(self) -> list[int]:
        """Return the labels that have scores and both classes: what every average is over."""
        return [i for i in range(len(self.names)) if self.why_unranked(i) is None]

    def known(self, label: int) -> tuple[BoolArray, FloatArray, npt.NDArray[np.intp]]:
        """Return truth, scores and patients of a label's known rows, each (n,).

        By patient and score, whatever the order of the set, so that sums round alike.
        """
        return self._in_order[label]

    @cached_property
    def _in_order(self) -> tuple[tuple[BoolArray, FloatArray, npt.NDArray[np.intp]], ...]:
        return tuple(
            _by_patient(
                self.truth.positive[rows, label],
                self.scores[rows, label],
                self.clusters.codes[rows],
            )
            for label, rows in enumerate(self.truth.known.T)
        )

    def known_with(
        self, label: int, values: npt.NDArray[np.intp]
    ) -> tuple[BoolArray, FloatArray, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return the same, and what `values` (N,) say of these rows."""
        rows = self.truth.known[:, label]
        positive, score = self.truth.positive[rows, label], self.scores[rows, label]
        codes, chosen = self.clusters.codes[rows], values[rows]
        order = np.lexsort((chosen, positive, score, codes))
        return positive[order], score[order], codes[order], chosen[order]

    def pooled(self, labels: Sequence[int]) -> tuple[BoolArray, FloatArray, npt.NDArray[np.intp]]:
        """Return the same of several labels (at least one) taken as one."""
        positive, score, codes = zip(*(self.known(label) for label in labels), strict=True)
        return _by_patient(np.concatenate(positive), np.concatenate(score), np.concatenate(codes))

    def rows(self, chosen: BoolArray) -> ScoredSet:
        """Return the rows where `chosen` (N,) is True; their patients keep their order."""
        old = self.clusters
        kept, codes = np.unique(old.codes[chosen], return_inverse=True)
        # Rows without a patient have the highest codes.
        alone = int((kept >= old.count - old.rows_without_patient).sum())
        clusters = Clusters(np.asarray(codes, dtype=np.intp), len(kept), old.unit, alone)
        truth = Truth(self.truth.positive[chosen], self.truth.known[chosen])
        return replace(self, truth=truth, scores=self.scores[chosen], clusters=clusters)


def _different(codes: npt.NDArray[np.intp]) -> int:
    return int(np.count_nonzero(np.bincount(codes)))


def _by_patient(
    positive: BoolArray, score: FloatArray, codes: npt.NDArray[np.intp]
) -> tuple[BoolArray, FloatArray, npt.NDArray[np.intp]]:
    order = np.lexsort((positive, score, codes))
    return positive[order], score[order], codes[order]


def scored_set(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    *,
    known: npt.ArrayLike | None,
    names: Sequence[str],
    kind: str,
    patients: Sequence[str | None] | npt.NDArray[np.object_] | None,
    image_ids: Sequence[str] | None,
    not_scored: Mapping[str, str] | None,
) -> ScoredSet:
    """Check what `evaluate` was given; arguments as there.

    Raises:
        DataError: shapes, values or names do not fit; a score of a known label is NaN.
    """
    missing = {} if not_scored is None else dict(not_scored)
    truth = check_truth(y_true, known, names=names, kind=kind)
    scores = check_scores(y_score, truth, names=names, without_scores=missing)
    clusters = cluster_rows(len(scores), patients, image_ids)
    return ScoredSet(tuple(names), truth, scores, clusters, missing)
