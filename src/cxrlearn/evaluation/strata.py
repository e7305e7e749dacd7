"""AUROC within strata: what is left when only images of equal view, sex and the like compete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrlearn.evaluation.bootstrap import resample
from cxrlearn.evaluation.estimates import bootstrap_estimate, few_patients, undefined
from cxrlearn.evaluation.metrics import macro_mean
from cxrlearn.evaluation.results import WithinStrata
from cxrlearn.evaluation.scored_set import scored_set
from cxrlearn.evaluation.segments import rank_pairs, ratio
from cxrlearn.evaluation.subgroups import checked_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cxrlearn.evaluation.inputs import FloatArray
    from cxrlearn.evaluation.results import Estimate
    from cxrlearn.evaluation.scored_set import ScoredSet
    from cxrlearn.evaluation.segments import RankedPairs

NO_PAIR = "no stratum has both classes"
"""Why a label with both classes has no AUROC within strata."""
_NO_LABEL = "no label has both classes within a stratum"
_LOST_PAIRS = "lost all pairs within strata"


@dataclass(frozen=True)
class StratifiedPairs:
    """One label ranked within each stratum."""

    strata: tuple[RankedPairs, ...]
    """Those with both classes; at least one."""

    def on(self, counts: FloatArray) -> FloatArray:
        """Return (1, R): pairs won in all strata over all pairs within strata, NaN without any."""
        wins, pairs = zip(*(stratum.wins(counts) for stratum in self.strata), strict=True)
        return ratio(np.sum(wins, axis=0), 2 * np.sum(pairs, axis=0))[np.newaxis]


def auroc_within_strata(  # noqa: PLR0913 - as `evaluate`, keyword-only
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    *,
    known: npt.ArrayLike | None = None,
    names: Sequence[str],
    kind: str,
    patients: Sequence[str | None] | npt.NDArray[np.object_] | None = None,
    image_ids: Sequence[str] | None = None,
    not_scored: Mapping[str, str] | None = None,
    columns: Mapping[str, Sequence[str | None]],
    n_replicates: int = 1000,
    seed: int = 0,
) -> WithinStrata:
    """Compare only images that agree in all columns: pairs won in all strata over all such pairs.

    This is the Mann-Whitney statistic of each stratum, weighted by its number of pairs; the
    stratified test of van Elteren (Bull. Int. Stat. Inst. 1960;37:351-361) adds the same
    statistics with other weights, those that serve a test best. A score that only knows the
    columns themselves gets 0.5. A blank is a value like any other. Intervals are percentile
    intervals of the patient bootstrap.

    Args:
        y_true: as in `evaluate`, and so all others but one.
        y_score: as in `evaluate`.
        known: as in `evaluate`.
        names: as in `evaluate`.
        kind: as in `evaluate`.
        patients: as in `evaluate`.
        image_ids: as in `evaluate`.
        not_scored: as in `evaluate`.
        columns: (N,) values of each column; without columns all rows are one stratum.
        n_replicates: as in `evaluate`.
        seed: as in `evaluate`.

    Raises:
        DataError: shapes, values or names do not fit; a score of a known label is NaN.
    """
    data = scored_set(
        y_true,
        y_score,
        known=known,
        names=names,
        kind=kind,
        patients=patients,
        image_ids=image_ids,
        not_scored=not_scored,
    )
    values = checked_columns(columns, len(data.scores))
    stratum, n_strata = _number(list(values.values()), len(data.scores))
    statistics = {
        label: StratifiedPairs(ranked)
        for label in data.ranked()
        if (ranked := _rank_strata(data, label, stratum))
    }
    drawn = _resample(statistics, data.clusters.count, n_replicates, seed)
    return WithinStrata(
        columns=tuple(columns),
        strata=n_strata,
        macro=_macro(data, statistics, drawn),
        macro_labels=tuple(data.names[label] for label in statistics),
        labels=tuple(
            _label(data, label, statistics.get(label), drawn.get(label))
            for label in range(len(data.names))
        ),
    )


def _resample(
    statistics: Mapping[int, StratifiedPairs], n_clusters: int, n_replicates: int, seed: int
) -> dict[int, FloatArray]:
    if not statistics:
        return {}
    rng = np.random.default_rng(seed)
    found = resample(list(statistics.values()), n_clusters, n_replicates=n_replicates, rng=rng)
    return dict(zip(statistics, found, strict=True))


def _number(
    columns: list[npt.NDArray[np.object_]], n_rows: int
) -> tuple[npt.NDArray[np.intp], int]:
    """Number the combinations of values that occur."""
    keys = list(zip(*columns, strict=True)) if columns else [()] * n_rows
    numbers = {key: number for number, key in enumerate(sorted(set(keys)))}
    return np.array([numbers[key] for key in keys], dtype=np.intp), len(numbers)


def _rank_strata(
    data: ScoredSet, label: int, stratum: npt.NDArray[np.intp]
) -> tuple[RankedPairs, ...]:
    positive, score, codes = data.known(label)
    strata = stratum[data.truth.known[:, label]]
    both = np.intersect1d(strata[positive], strata[~positive])
    parts = (strata == number for number in both)
    return tuple(
        rank_pairs(positive[rows], score[rows], codes[rows], data.clusters.count) for rows in parts
    )


def _on_data(data: ScoredSet, pairs: StratifiedPairs) -> float:
    return float(pairs.on(np.ones((data.clusters.count, 1)))[0, 0])


def _label(
    data: ScoredSet, label: int, pairs: StratifiedPairs | None, drawn: FloatArray | None
) -> Estimate:
    if pairs is None or drawn is None:
        return undefined(data.why_unranked(label) or NO_PAIR)
    caution = few_patients(*data.owners(label), data.clusters)
    return bootstrap_estimate(
        _on_data(data, pairs), drawn[0], data.clusters, caution=caution, cause=_LOST_PAIRS
    )


def _macro(
    data: ScoredSet, pairs: Mapping[int, StratifiedPairs], drawn: Mapping[int, FloatArray]
) -> Estimate:
    if not pairs:
        return undefined(_NO_LABEL)
    value = macro_mean(np.array([[_on_data(data, one) for one in pairs.values()]]))[0]
    replicates = np.concatenate(list(drawn.values())).T
    return bootstrap_estimate(value, macro_mean(replicates), data.clusters, cause=_LOST_PAIRS)
