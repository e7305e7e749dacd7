"""One model on two test sets of different patients: by how much the macro AUROC drops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrlearn.evaluation.bootstrap import percentile_interval
from cxrlearn.evaluation.inputs import (
    Clusters,
    FloatArray,
    Truth,
    check_scores,
    check_truth,
    cluster_rows,
)
from cxrlearn.evaluation.paired import SharedMacros, shared_macros

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


@dataclass(frozen=True)
class SetScores:
    """One model on one test set."""

    y_true: npt.ArrayLike
    """(N, L) of 0 and 1; multi-class: one-hot."""
    scores: npt.ArrayLike
    """(N, L) logits."""
    known: npt.ArrayLike | None = None
    """(N, L) bool, or None: all known."""
    patients: Sequence[str | None] | None = None
    """(N,) strings, None where unknown; None resamples images."""
    image_ids: Sequence[str] | None = None
    """(N,) the order in which rows without a patient are numbered."""
    not_scored: Collection[str] = ()
    """Labels without scores."""


@dataclass(frozen=True)
class IndependentDifference:
    """One model on two test sets: the other set minus the internal one; negative is a drop."""

    difference: float | None
    """Of the macro AUROC over `labels`, on the data; None where undefined."""
    low: float | None
    """Lower limit of the 95 % percentile interval."""
    high: float | None
    """Upper limit."""
    standard_error: float | None
    """Standard deviation of the difference over the replicates."""
    reason: str | None
    """Why something above is None."""
    cautions: tuple[str, ...]
    """What to know before trusting the interval."""
    labels: tuple[str, ...]
    """The labels averaged: both classes in both sets."""
    internal: float | None
    """Macro AUROC over `labels` on the internal set."""
    other: float | None
    """The same on the other set."""
    replicates: int
    """Bootstrap replicates."""


def independent_macro_difference(
    internal: SetScores,
    other: SetScores,
    *,
    names: Sequence[str],
    n_replicates: int = 1000,
    seed: int = 0,
) -> IndependentDifference:
    """Compare one model's macro AUROC on two test sets of different patients.

    The patients of each set are drawn apart, from two streams of one seed, so that the variances of
    the two sets add up.

    Args:
        internal: usually the first test set.
        other: another one, with the same labels in the same order.
        names: L labels.
        n_replicates: at least 2.
        seed: of both streams of replicates.

    Raises:
        DataError: shapes, values or names do not fit; a score of a known label is NaN.
    """
    sets = [_check(scored, names) for scored in (internal, other)]
    defined = np.logical_and.reduce(
        [truth.positive.any(axis=0) & truth.negative.any(axis=0) for truth, *_ in sets]
    )
    left_out = {name for name, kept in zip(names, defined, strict=True) if not kept}
    left_out.update(internal.not_scored, other.not_scored)
    streams = np.random.SeedSequence(seed).generate_state(2)
    first, second = (
        shared_macros(
            truth,
            [scores],
            clusters,
            names=names,
            without_scores=left_out,
            n_replicates=n_replicates,
            seed=int(stream),
        )
        for (truth, scores, clusters), stream in zip(sets, streams, strict=True)
    )
    return _independent(first, second)


def _check(scored: SetScores, names: Sequence[str]) -> tuple[Truth, FloatArray, Clusters]:
    truth = check_truth(scored.y_true, scored.known, names=names)
    scores = check_scores(scored.scores, truth, names=names, without_scores=scored.not_scored)
    return truth, scores, cluster_rows(len(scores), scored.patients, scored.image_ids)


def _independent(internal: SharedMacros, other: SharedMacros) -> IndependentDifference:
    count = len(other.replicates)
    if not internal.labels:
        reason = "no label has scores and both classes in both sets"
        return IndependentDifference(None, None, None, None, reason, (), (), None, None, count)
    macros = float(internal.macros[0]), float(other.macros[0])
    difference = macros[1] - macros[0]
    alone = next((s.clusters.unit for s in (internal, other) if s.clusters.count < 2), None)
    if alone is not None:
        reason = f"no interval: all rows of one set are of one {alone}"
        return IndependentDifference(
            difference, None, None, None, reason, (), internal.labels, *macros, count
        )
    replicates = other.replicates[:, 0] - internal.replicates[:, 0]
    interval = percentile_interval(replicates)
    return IndependentDifference(
        difference=difference,
        low=interval.low,
        high=interval.high,
        standard_error=None if interval.reason else float(np.nanstd(replicates, ddof=1)),
        reason=interval.reason,
        cautions=() if interval.caution is None else (interval.caution,),
        labels=internal.labels,
        internal=macros[0],
        other=macros[1],
        replicates=count,
    )
