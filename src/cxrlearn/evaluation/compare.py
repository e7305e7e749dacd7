"""Several models on one test set: which differences are shown, and which are not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from cxrlearn.errors import DataError
from cxrlearn.evaluation.averages import NOTHING_TO_AVERAGE, mean_estimate
from cxrlearn.evaluation.differences import paired_difference
from cxrlearn.evaluation.intervals import undefined
from cxrlearn.evaluation.metric_table import label_estimate, measure
from cxrlearn.evaluation.multiplicity import holm
from cxrlearn.evaluation.scored_set import scored_set

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from cxrlearn.evaluation.results import Difference, Estimate
    from cxrlearn.evaluation.scored_set import ScoredSet

SIGNIFICANCE = 0.05
"""An adjusted p-value below this tells two models apart."""
FAMILY = "Holm-adjusted over {count} pairs of models on this test set"
"""What the p-values of macro differences are adjusted for."""
EXPLORATORY = (
    "exploratory: a second family, Holm-adjusted over {count} comparisons of single labels"
)
"""The same of differences by label."""


@dataclass(frozen=True)
class ModelMacro:
    """One model of a comparison."""

    name: str
    """As given."""
    macro: Estimate
    """Mean AUROC over the labels that all models share, with its interval."""


@dataclass(frozen=True)
class ModelPair:
    """Two models: the first minus the second."""

    first: str
    """Name of model A."""
    second: str
    """Name of model B."""
    macro: Difference
    """Difference of the macro AUROC."""
    adjusted_p: float | None
    """Holm-adjusted over the pairs of this test set; None without a test, and where a model is a
    label-permutation control: no claim is made of it."""


@dataclass(frozen=True)
class LabelPair:
    """Two models on one label: the first minus the second. Exploratory."""

    label: str
    """The label or class."""
    first: str
    """Name of model A."""
    second: str
    """Name of model B."""
    auroc: Difference
    """Difference of the AUROC."""
    adjusted_p: float | None
    """Holm-adjusted over pairs and labels: a family of its own; None as in `ModelPair`."""


@dataclass(frozen=True)
class Comparison:
    """Every pair of models on one test set."""

    models: tuple[ModelMacro, ...]
    """In the order given."""
    macro_labels: tuple[str, ...]
    """The labels averaged: both classes on the data, scored by every model."""
    pairs: tuple[ModelPair, ...]
    """All pairs, in the order of `itertools.combinations`."""
    labels: tuple[LabelPair, ...]
    """All pairs for each label."""
    best: str | None
    """The model of the highest macro AUROC; the first of equal ones."""
    not_distinguishable: tuple[str, ...]
    """Models that no adjusted p-value below 0.05 tells apart from the best."""
    family: str
    """What the p-values of `pairs` are adjusted for."""
    exploratory: str
    """What those of `labels` are adjusted for, and that they are exploratory."""
    rows: int
    """Rows compared."""
    unit: str
    """Whose rows belong together: "patient" or "image"."""
    clusters: int
    """Number of such units."""


def compare_models(
    y_true: npt.ArrayLike,
    known: npt.ArrayLike | None,
    scores: Mapping[str, npt.ArrayLike],
    patients: Sequence[str | None] | npt.NDArray[np.object_] | None,
    *,
    names: Sequence[str],
    image_ids: Sequence[str] | None = None,
    not_scored: Mapping[str, Collection[str]] | None = None,
    controls: Collection[str] = (),
) -> Comparison:
    """Compare every pair of models on the same rows.

    The macro AUROC of all models is taken over the same labels, and a patient leaves all models
    together, so what models have in common cancels in their differences. The p-values of the macro
    are one family; those of single labels are a second, exploratory one.

    Args:
        y_true: (N, L) of 0 and 1; multi-class: one-hot.
        known: (N, L) bool, or None: all known.
        scores: (N, L) logits by model name, rows and labels in the same order; at least one model.
        patients: (N,) strings, None where unknown; None: every image is a patient.
        names: L labels.
        image_ids: (N,) the order in which rows without a patient are numbered.
        not_scored: labels without scores, by model name.
        controls: models fitted on permuted labels: tested, but in no family of claims.

    Raises:
        DataError: no model; shapes, values or names do not fit; a score of a known label is NaN.
    """
    if not scores:
        raise DataError("A comparison needs the scores of at least one model. Got none.")
    missing = {model: frozenset((not_scored or {}).get(model, ())) for model in scores}
    sets = {
        model: scored_set(
            y_true,
            values,
            known=known,
            names=names,
            kind="multilabel",
            patients=patients,
            image_ids=image_ids,
            not_scored=dict.fromkeys(missing[model], "not scored by this model"),
        )
        for model, values in scores.items()
    }
    first = next(iter(sets.values()))
    shared = [
        label
        for label in range(len(names))
        if all(data.why_unranked(label) is None for data in sets.values())
    ]
    macros = [ModelMacro(model, _macro(data, shared)) for model, data in sets.items()]
    pairs = _macro_pairs(sets, shared, controls)
    labels = _label_pairs(sets, controls)
    ranked = [one for one in macros if one.macro.value is not None and one.name not in controls]
    best = max(ranked, key=lambda one: one.macro.value or 0.0).name if ranked else None
    return Comparison(
        models=tuple(macros),
        macro_labels=tuple(first.names[label] for label in shared),
        pairs=pairs,
        labels=labels,
        best=best,
        not_distinguishable=not_distinguishable_from(best, pairs),
        family=FAMILY.format(count=sum(pair.adjusted_p is not None for pair in pairs)),
        exploratory=EXPLORATORY.format(count=sum(pair.adjusted_p is not None for pair in labels)),
        rows=len(first.scores),
        unit=first.clusters.unit,
        clusters=first.clusters.count,
    )


def _macro(data: ScoredSet, labels: list[int]) -> Estimate:
    if not labels:
        return undefined(NOTHING_TO_AVERAGE)
    found = {(label, "auroc"): measure(data, label, "auroc") for label in labels}
    if len(labels) == 1:
        return label_estimate(data, labels[0], "auroc", found)
    return mean_estimate(data, labels, list(found.values()))


def _macro_pairs(
    sets: Mapping[str, ScoredSet], shared: list[int], controls: Collection[str]
) -> tuple[ModelPair, ...]:
    found = [(a, b, paired_difference(sets[a], sets[b], shared)) for a, b in combinations(sets, 2)]
    adjusted = _adjusted(found, controls)
    return tuple(ModelPair(*pair, p) for pair, p in zip(found, adjusted, strict=True))


def _label_pairs(sets: Mapping[str, ScoredSet], controls: Collection[str]) -> tuple[LabelPair, ...]:
    found: list[tuple[str, str, Difference]] = []
    labels: list[str] = []
    for label, name in enumerate(next(iter(sets.values())).names):
        scored = [model for model, data in sets.items() if name not in data.not_scored]
        for a, b in combinations(scored, 2):
            reason = sets[a].why_unranked(label)
            known = [] if reason else [label]
            difference = paired_difference(sets[a], sets[b], known)
            found.append((a, b, replace(difference, reason=reason) if reason else difference))
            labels.append(name)
    adjusted = _adjusted(found, controls)
    return tuple(
        LabelPair(name, *pair, p) for name, pair, p in zip(labels, found, adjusted, strict=True)
    )


def _adjusted(
    found: Sequence[tuple[str, str, Difference]], controls: Collection[str]
) -> tuple[float | None, ...]:
    """Adjust the p-values of pairs in which neither model is a control."""
    return holm([None if {a, b} & {*controls} else one.p_value for a, b, one in found])


def not_distinguishable_from(
    best: str | None, pairs: Sequence[ModelPair] | Sequence[LabelPair]
) -> tuple[str, ...]:
    """Return the models that no adjusted p-value below 0.05 tells apart from `best`.

    Args:
        best: a model; None has no equals.
        pairs: all pairs of models, on one test set or on one of its labels.
    """
    return tuple(
        pair.second if pair.first == best else pair.first
        for pair in pairs
        if best in {pair.first, pair.second}
        and (pair.adjusted_p is None or pair.adjusted_p >= SIGNIFICANCE)
    )
