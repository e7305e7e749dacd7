"""Averages over labels: macro, weighted and micro. An average of one label is that label."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cxrlearn.evaluation.intervals import FEW_PATIENTS, share_estimate, undefined
from cxrlearn.evaluation.jackknife import Jackknife, count_without, mean_of, with_unknown
from cxrlearn.evaluation.metric_table import METRICS, label_estimate
from cxrlearn.evaluation.results import Average, Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cxrlearn.evaluation.scored_set import ScoredSet

NOTHING_TO_AVERAGE = "no label has scores and both classes"
"""Why an average over labels is undefined."""
WANTED = (
    *(("macro", name) for name in METRICS),
    *(
        (average, name)
        for average in ("weighted", "micro")
        for name, metric in METRICS.items()
        if metric.ranks
    ),
)
"""Every average and its metric, the macro AUROC first."""


def average(data: ScoredSet, found: Mapping[tuple[int, str], Jackknife]) -> tuple[Average, ...]:
    """Return every average of a set, the macro AUROC first.

    All are over the labels that have scores and both classes on the data. `macro` is the
    unweighted mean; `weighted` weighs each label by its positive rows; `micro` pools all known
    (row, label) pairs into one label, which compares scores across labels.
    """
    labels = data.ranked()
    names = tuple(data.names[i] for i in labels)
    if not labels:
        nothing = undefined(NOTHING_TO_AVERAGE)
        return tuple(Average(kind, name, nothing, ()) for kind, name in WANTED)
    if len(labels) == 1:
        return tuple(
            Average(kind, name, label_estimate(data, labels[0], name, found), names)
            for kind, name in WANTED
        )
    return tuple(
        Average(kind, name, _average(data, labels, found, kind, name), names)
        for kind, name in WANTED
    )


def _average(
    data: ScoredSet,
    labels: Sequence[int],
    found: Mapping[tuple[int, str], Jackknife],
    kind: str,
    name: str,
) -> Estimate:
    if kind == "micro":
        pooled = METRICS[name].without(*data.pooled(labels), data.clusters.count)
        return mean_estimate(data, labels, [pooled], debias=METRICS[name].debias)
    parts = [found[label, name] for label in labels]
    weights = None
    if kind == "weighted":
        counted = (data.known(label) for label in labels)
        weights = [
            count_without(positive, codes, data.clusters.count) for positive, _, codes in counted
        ]
    return mean_estimate(data, labels, parts, weights=weights, debias=METRICS[name].debias)


def mean_estimate(
    data: ScoredSet,
    labels: Sequence[int],
    parts: Sequence[Jackknife],
    *,
    weights: Sequence[Jackknife] | None = None,
    debias: bool = False,
) -> Estimate:
    """Return the mean of one number of several labels, with what is to be known of the labels.

    Args:
        data: the set.
        labels: the labels averaged.
        parts: the number of each, in that order, or of all together.
        weights: of each; None: all alike.
        debias: centre the interval at the mean less the mean of the biases.
    """
    mean = mean_of(parts, weights)
    if all(math.isnan(part.standard_error) for part in parts):
        reason = f"no interval: every label rests on one {data.clusters.unit} of a class"
        return Estimate(mean.value, None, None, reason, ())
    mean = mean_of(with_unknown(parts, mean.value), weights)
    biases = [part.bias for part in parts if debias and not math.isnan(part.bias)]
    return share_estimate(
        mean, bias=math.fsum(biases) / len(parts), cautions=label_cautions(data, labels)
    )


def label_cautions(data: ScoredSet, labels: Sequence[int]) -> tuple[str, ...]:
    """Return what an average inherits from its labels, each thing once with their names."""
    unit = data.clusters.unit
    scarce: dict[tuple[int, str], list[str]] = {}
    for label in labels:
        count, which = data.owners_of(label).rarer
        if count < FEW_PATIENTS:
            scarce.setdefault((count, which), []).append(data.names[label])
    said = []
    alone = [name for (count, _), names in scarce.items() if count < 2 for name in names]
    if alone:
        said.append(
            f"{', '.join(alone)}: no interval of its own (one {unit} of a class); counted as "
            "uncertain as a label can be"
        )
    few = [
        f"{name} ({count} {which})"
        for (count, which), names in sorted(scarce.items())
        for name in names
        if count > 1
    ]
    if few:
        said.append(f"rests on labels with few {unit}s: {', '.join(few)}")
    return tuple(said)
