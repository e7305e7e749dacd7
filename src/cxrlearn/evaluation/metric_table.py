"""The metrics of a label that need no threshold: a new one is an entry here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.evaluation.average_precision import average_precision_without
from cxrlearn.evaluation.intervals import (
    Owners,
    auroc_estimate,
    design_effect,
    share_estimate,
    undefined,
)
from cxrlearn.evaluation.jackknife import (
    Jackknife,
    auroc_without,
    count_pairs,
    effective_patients,
    ratio_without,
)
from cxrlearn.evaluation.metrics import squared_errors
from cxrlearn.evaluation.results import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cxrlearn.evaluation.inputs import BoolArray, FloatArray
    from cxrlearn.evaluation.jackknife import Codes
    from cxrlearn.evaluation.scored_set import ScoredSet


@dataclass(frozen=True)
class Metric:
    """One number of a label, in [0, 1]."""

    without: Callable[[BoolArray, FloatArray, Codes, int], Jackknife]
    """(truth (n,), log-odds (n,), patients (n,), P) -> the number, and without each patient."""
    ranks: bool
    """Needs both classes and sees only the order of scores; else it needs known rows."""
    debias: bool = False
    """The interval is centred at the number less its jackknife bias."""


def label_auroc(positive: BoolArray, score: FloatArray, codes: Codes, patients: int) -> Jackknife:
    """Return the AUROC of one label."""
    return auroc_without(count_pairs(positive, score, codes, patients))


def _brier(positive: BoolArray, score: FloatArray, codes: Codes, patients: int) -> Jackknife:
    errors = squared_errors(positive, score)
    found = ratio_without(errors, np.ones_like(errors), codes, patients)
    # Squared errors are skewed: the shifts alone miss how much a patient of many rows could move.
    return replace(found, most_degrees=effective_patients(codes))


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "auroc": Metric(label_auroc, ranks=True),
        "average_precision": Metric(average_precision_without, ranks=True, debias=True),
        "brier": Metric(_brier, ranks=False),
    }
)
"""By the names that results use."""


def why_missing(data: ScoredSet, label: int, metric: Metric) -> str | None:
    """Say why a label has no such number; None where it has."""
    return data.why_unranked(label) if metric.ranks else data.why_unscored(label)


def measure(data: ScoredSet, label: int, name: str) -> Jackknife:
    """Return a metric of a label that has it."""
    return METRICS[name].without(*data.known(label), data.clusters.count)


def label_estimate(
    data: ScoredSet, label: int, name: str, measured: Mapping[tuple[int, str], Jackknife]
) -> Estimate:
    """Return a metric of one label with its interval.

    Args:
        data: the set.
        label: its number.
        name: of the metric.
        measured: metrics of labels, by number and name, where they exist.
    """
    metric, owners = METRICS[name], data.owners_of(label)
    found = measured.get((label, name))
    if found is None:
        return undefined(why_missing(data, label, metric) or "")
    if name == "auroc":
        return auroc_inference(data, label, found)[0]
    if metric.ranks and (none := owners.why_no_interval()):
        return Estimate(found.value, None, None, none, ())
    bias = found.bias if metric.debias else 0.0
    return share_estimate(found, bias=bias, cautions=owners.caution())


def auroc_inference(
    data: ScoredSet, label: int, found: Jackknife
) -> tuple[Estimate, float | None, float | None]:
    """Return the AUROC of a label with its interval, its standard error and design effect."""
    positive, score, codes = data.known(label)
    owners: Owners = data.owners_of(label)
    rows = label_auroc(positive, score, np.arange(len(codes)), len(codes)).standard_error
    kish = kish_rows(positive, codes)
    effect = design_effect(found.standard_error, rows, kish)
    estimate = auroc_estimate(
        found.value, data.counts(label), owners, effect, flat=rows == 0 and kish > 1
    )
    if owners.why_no_interval() is not None:
        return estimate, None, None
    return estimate, found.standard_error, effect


def kish_rows(positive: BoolArray, codes: Codes) -> float:
    """Return Kish's mean rows per patient, Σ rows² / Σ rows, of the class with fewer patients."""
    rows = [np.bincount(codes[part]) for part in (positive, ~positive)]
    return -min(
        (int(np.count_nonzero(counts)), -float((counts**2).sum() / counts.sum())) for counts in rows
    )[1]
