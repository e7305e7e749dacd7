"""Several models on one test set: which differences are shown, and which are not."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrlearn.errors import DataError
from cxrlearn.evaluation.delong import PairedAuroc, paired_auroc_differences
from cxrlearn.evaluation.estimates import bootstrap_estimate, undefined
from cxrlearn.evaluation.inputs import (
    Clusters,
    FloatArray,
    Truth,
    check_scores,
    check_truth,
    cluster_rows,
)
from cxrlearn.evaluation.multiplicity import holm
from cxrlearn.evaluation.paired import PairedDifference, SharedMacros, shared_macros

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cxrlearn.evaluation.results import Estimate

SIGNIFICANCE = 0.05
"""An adjusted p-value below this tells two models apart."""
POWER_FACTOR = 2.80
"""1.96 + 0.84: standard errors that a test at the 5 % level finds with a power of 80 %."""
FAMILY = "Holm-adjusted over all {count} pairs of models on this test set"
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
    """Mean AUROC over the labels that all models share, with its percentile interval."""


@dataclass(frozen=True)
class ModelPair:
    """Two models: the first minus the second."""

    first: str
    """Name of model A."""
    second: str
    """Name of model B."""
    macro: PairedDifference
    """Difference of the macro AUROC on shared replicates of patients."""
    adjusted_p: float | None
    """Holm-adjusted over all pairs of this test set; None without a test."""


@dataclass(frozen=True)
class LabelPair:
    """Two models on one label: the first minus the second. Exploratory."""

    label: str
    """The label or class."""
    first: str
    """Name of model A."""
    second: str
    """Name of model B."""
    auroc: PairedAuroc
    """Difference of the AUROC, by the clustered form of DeLong's test."""
    adjusted_p: float | None
    """Holm-adjusted over all pairs and labels: a family of its own; None without a test."""


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
    """What was resampled: "patient" or "image"."""
    clusters: int
    """Number of such units."""
    replicates: int
    """Bootstrap replicates, shared by all models."""
    seed: int
    """Seed of the replicates."""


def compare_models(  # noqa: PLR0913 - several models on one set, keyword-only past the arrays
    y_true: npt.ArrayLike,
    known: npt.ArrayLike | None,
    scores: Mapping[str, npt.ArrayLike],
    patients: Sequence[str | None] | npt.NDArray[np.object_] | None,
    *,
    names: Sequence[str],
    image_ids: Sequence[str] | None = None,
    not_scored: Mapping[str, Collection[str]] | None = None,
    n_replicates: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare every pair of models on the same rows.

    The macro AUROC of all models is taken over the same labels and on the same replicates of
    patients, so what models have in common cancels in their differences. The p-values of the macro
    are one family; those of single labels are a second, exploratory one.

    Args:
        y_true: (N, L) of 0 and 1; multi-class: one-hot.
        known: (N, L) bool, or None: all known.
        scores: (N, L) logits by model name, rows and labels in the same order; at least one model.
        patients: (N,) strings, None where unknown; None resamples images.
        names: L labels.
        image_ids: (N,) the order in which rows without a patient are numbered.
        not_scored: labels without scores, by model name.
        n_replicates: at least 2.
        seed: of the replicates; `evaluate` with this seed uses the same ones.

    Raises:
        DataError: no model; shapes, values or names do not fit; a score of a known label is NaN.
    """
    if not scores:
        raise DataError("A comparison needs the scores of at least one model. Got none.")
    missing = {model: frozenset((not_scored or {}).get(model, ())) for model in scores}
    truth = check_truth(y_true, known, names=names)
    checked = {
        model: check_scores(values, truth, names=names, without_scores=missing[model])
        for model, values in scores.items()
    }
    clusters = cluster_rows(len(truth.known), patients, image_ids)
    shared = shared_macros(
        truth,
        list(checked.values()),
        clusters,
        names=names,
        without_scores=frozenset().union(*missing.values()),
        n_replicates=n_replicates,
        seed=seed,
    )
    pairs = _macro_pairs(list(scores), shared)
    labels = _label_pairs(truth, checked, clusters, names, missing)
    best = list(scores)[int(np.argmax(shared.macros))] if shared.labels else None
    return Comparison(
        models=tuple(
            ModelMacro(model, _macro_estimate(shared, place)) for place, model in enumerate(scores)
        ),
        macro_labels=shared.labels,
        pairs=pairs,
        labels=labels,
        best=best,
        not_distinguishable=not_distinguishable_from(best, pairs),
        family=FAMILY.format(count=sum(pair.adjusted_p is not None for pair in pairs)),
        exploratory=EXPLORATORY.format(count=sum(pair.adjusted_p is not None for pair in labels)),
        rows=len(truth.known),
        unit=clusters.unit,
        clusters=clusters.count,
        replicates=n_replicates,
        seed=seed,
    )


def _macro_pairs(models: list[str], shared: SharedMacros) -> tuple[ModelPair, ...]:
    places = list(combinations(range(len(models)), 2))
    differences = [shared.difference(a, b) for a, b in places]
    adjusted = holm([difference.p_value for difference in differences])
    return tuple(
        ModelPair(models[a], models[b], difference, p_value)
        for (a, b), difference, p_value in zip(places, differences, adjusted, strict=True)
    )


def _label_pairs(
    truth: Truth,
    scores: Mapping[str, FloatArray],
    clusters: Clusters,
    names: Sequence[str],
    missing: Mapping[str, Collection[str]],
) -> tuple[LabelPair, ...]:
    found: list[tuple[str, str, str, PairedAuroc]] = []
    for place, label in enumerate(names):
        known = truth.known[:, place]
        models = [model for model in scores if label not in missing[model]]
        if len(models) < 2:
            continue
        differences = paired_auroc_differences(
            truth.positive[known, place],
            np.stack([scores[model][known, place] for model in models]),
            clusters.codes[known],
            unit=clusters.unit,
        )
        for (a, b), difference in zip(combinations(models, 2), differences, strict=True):
            found.append((label, a, b, difference))
    adjusted = holm([difference.p_value for *_, difference in found])
    return tuple(
        LabelPair(*pair, adjusted_p=p_value) for pair, p_value in zip(found, adjusted, strict=True)
    )


def _macro_estimate(shared: SharedMacros, model: int) -> Estimate:
    if not shared.labels:
        return undefined("no label has scores of all models and both classes")
    value, replicates = float(shared.macros[model]), shared.replicates[:, model]
    return bootstrap_estimate(value, replicates, shared.clusters)


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


def resolvable_difference(standard_error: float) -> float:
    """Return the smallest true difference that a test with this standard error is likely to find.

    2.80 standard errors: a two-sided test at the 5 % level finds it with a power of 80 %, because
    1.96 + 0.84 = 2.80 (the normal quantiles of 97.5 % and 80 %). A smaller difference between two
    models is more likely missed than a reader expects, so it is no ranking.

    Args:
        standard_error: of the paired difference, ≥ 0.
    """
    return POWER_FACTOR * standard_error
