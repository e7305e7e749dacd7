"""AUROC within strata: what is left when only images of equal view, sex and the like compete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrlearn.evaluation.averages import mean_estimate
from cxrlearn.evaluation.intervals import share_estimate, undefined
from cxrlearn.evaluation.jackknife import auroc_without, count_pairs
from cxrlearn.evaluation.results import WithinStrata
from cxrlearn.evaluation.scored_set import scored_set
from cxrlearn.evaluation.subgroups import checked_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cxrlearn.evaluation.jackknife import Jackknife
    from cxrlearn.evaluation.results import Estimate
    from cxrlearn.evaluation.scored_set import ScoredSet

NO_PAIR = "no stratum has both classes"
"""Why a label with both classes has no AUROC within strata."""
_NO_LABEL = "no label has both classes within a stratum"


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
) -> WithinStrata:
    """Compare only images that agree in all columns: pairs won in all strata over all such pairs.

    This is the Mann-Whitney statistic of each stratum, weighted by its number of pairs; the
    stratified test of van Elteren (Bull. Int. Stat. Inst. 1960;37:351-361) adds the same
    statistics with other weights, those that serve a test best. A score that only knows the
    columns themselves gets 0.5. A blank is a value like any other. Intervals come from the
    jackknife over patients, on the logit scale.

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
    found = {
        label: one for label in data.ranked() if (one := _within(data, label, stratum)) is not None
    }
    labels = tuple(_label(data, label, found.get(label)) for label in range(len(data.names)))
    return WithinStrata(
        columns=tuple(columns),
        strata=n_strata,
        macro=_macro(data, found, labels),
        macro_labels=tuple(data.names[label] for label in found),
        labels=labels,
    )


def _number(
    columns: list[npt.NDArray[np.object_]], n_rows: int
) -> tuple[npt.NDArray[np.intp], int]:
    """Number the combinations of values that occur."""
    keys = list(zip(*columns, strict=True)) if columns else [()] * n_rows
    numbers = {key: number for number, key in enumerate(sorted(set(keys)))}
    return np.array([numbers[key] for key in keys], dtype=np.intp), len(numbers)


def _within(data: ScoredSet, label: int, stratum: npt.NDArray[np.intp]) -> Jackknife | None:
    """Return the AUROC within strata; None where no stratum has both classes."""
    positive, score, codes, numbers = data.known_with(label, stratum)
    both = np.intersect1d(numbers[positive], numbers[~positive])
    pairs = [
        count_pairs(positive[rows], score[rows], codes[rows], data.clusters.count)
        for rows in (numbers == number for number in both)
    ]
    return auroc_without(*pairs) if pairs else None


def _label(data: ScoredSet, label: int, found: Jackknife | None) -> Estimate:
    if found is None:
        return undefined(data.why_unranked(label) or NO_PAIR)
    return share_estimate(found, cautions=data.owners_of(label).caution())


def _macro(data: ScoredSet, found: dict[int, Jackknife], labels: tuple[Estimate, ...]) -> Estimate:
    if not found:
        return undefined(_NO_LABEL)
    if len(found) == 1:
        return labels[next(iter(found))]
    return mean_estimate(data, list(found), list(found.values()))
