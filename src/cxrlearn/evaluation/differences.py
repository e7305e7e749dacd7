"""Two models on the same images, or one model on two sets: the difference of the macro AUROC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrlearn.evaluation.averages import label_cautions
from cxrlearn.evaluation.intervals import difference_of, no_difference
from cxrlearn.evaluation.metric_table import measure
from cxrlearn.evaluation.scored_set import scored_set

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cxrlearn.evaluation.results import Difference
    from cxrlearn.evaluation.scored_set import ScoredSet


def paired_macro_difference(
    y_true: npt.ArrayLike,
    known: npt.ArrayLike | None,
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    patients: Sequence[str | None] | npt.NDArray[np.object_] | None,
    *,
    names: Sequence[str] | None = None,
    image_ids: Sequence[str] | None = None,
    without_scores: Collection[str] = (),
) -> Difference:
    """Compare the macro AUROC of two models on the same rows: A minus B.

    A patient leaves both models together, so what the two have in common cancels. The macro of one
    label is that label, so this is also the test of a single label: the jackknife form of DeLong's
    test, clustered by patient.

    Args:
        y_true: (N, L) of 0 and 1; multi-class: one-hot.
        known: (N, L) bool, or None: all known.
        scores_a: (N, L) logits of model A.
        scores_b: (N, L) logits of model B, rows and labels in the same order.
        patients: (N,) strings, None where unknown; None: every image is a patient.
        names: L labels; default "0", "1", …
        image_ids: (N,) the order in which rows without a patient are numbered.
        without_scores: labels that one of the models has no scores for.

    Raises:
        DataError: shapes, values or names do not fit; a score of a known label is NaN.
    """
    columns = np.asarray(y_true).shape[1] if np.ndim(y_true) == 2 else 0
    labels = tuple(map(str, range(columns))) if names is None else tuple(names)
    first, second = (
        scored_set(
            y_true,
            scores,
            known=known,
            names=labels,
            kind="multilabel",
            patients=patients,
            image_ids=image_ids,
            not_scored=dict.fromkeys(without_scores, "not scored by both models"),
        )
        for scores in (scores_a, scores_b)
    )
    return paired_difference(first, second, first.ranked())


def paired_difference(first: ScoredSet, second: ScoredSet, labels: Sequence[int]) -> Difference:
    """Compare two models on the same rows over some labels; see `paired_macro_difference`."""
    if not labels:
        return no_difference("no label has scores of both models and both classes")
    return difference_of(
        [measure(first, label, "auroc") for label in labels],
        [measure(second, label, "auroc") for label in labels],
        labels=tuple(first.names[label] for label in labels),
        cautions=label_cautions(first, labels),
    )


def set_difference(
    internal: ScoredSet,
    external: ScoredSet,
    patients: tuple[Sequence[str | None], Sequence[str | None]],
) -> Difference:
    """Compare one model's macro AUROC on two test sets: external minus internal.

    Over the labels with both classes in both sets. A patient in both sets leaves both together; so
    shared patients are accounted for, and sets of different patients are independent.

    Args:
        internal: usually the first test set.
        external: another one, with the same labels in the same order.
        patients: (N,) ids of the rows of each, None where unknown.
    """
    labels = [label for label in internal.ranked() if label in set(external.ranked())]
    if not labels:
        return no_difference("no label has scores and both classes in both sets")
    places, total = _union(internal, external, patients)
    sides = [
        [measure(data, label, "auroc").among(place, total) for label in labels]
        for data, place in zip((external, internal), places, strict=True)
    ]
    cautions = label_cautions(internal, labels) + label_cautions(external, labels)
    return difference_of(
        *sides,
        labels=tuple(internal.names[label] for label in labels),
        cautions=tuple(dict.fromkeys(cautions)),
    )


def _union(
    internal: ScoredSet,
    external: ScoredSet,
    patients: tuple[Sequence[str | None], Sequence[str | None]],
) -> tuple[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]], int]:
    """Number the patients of both sets together; a row without a patient is on its own.

    Returns:
        (external, internal): the number of each of a set's patients, in the order of its codes;
        and how many there are.
    """
    numbers: dict[object, int] = {}
    places = []
    for which, (data, ids) in enumerate(((external, patients[1]), (internal, patients[0]))):
        keys: list[object] = [None] * data.clusters.count
        for code, patient in zip(data.clusters.codes.tolist(), ids, strict=True):
            keys[code] = (which, code) if patient is None else patient
        found = [numbers.setdefault(key, len(numbers)) for key in keys]
        places.append(np.array(found, dtype=np.intp))
    return (places[0], places[1]), len(numbers)
