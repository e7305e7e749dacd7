"""What happens on a set at a threshold that validation chose."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from cxrlearn.evaluation.intervals import (
    design_effect,
    few,
    share_estimate,
    undefined,
    wilson_estimate,
)
from cxrlearn.evaluation.jackknife import ratio_without
from cxrlearn.evaluation.metrics import why_undefined
from cxrlearn.evaluation.results import Estimate, OperatingPoint

if TYPE_CHECKING:
    from cxrlearn.evaluation.inputs import BoolArray
    from cxrlearn.evaluation.jackknife import Codes
    from cxrlearn.evaluation.scored_set import ScoredSet
    from cxrlearn.evaluation.thresholds import Threshold

RATES = ("sensitivity", "specificity", "ppv", "npv", "f1")
"""What is computed at a threshold."""


def operating_point(data: ScoredSet, label: int, chosen: Threshold) -> OperatingPoint:
    """Apply a threshold to the known rows of one label.

    Args:
        data: what is evaluated.
        label: its number.
        chosen: on validation.
    """
    reason = chosen.reason or data.why_unscored(label)
    if chosen.threshold is None or reason is not None:
        counts, found = (0, 0, 0, 0), dict.fromkeys(RATES, undefined(reason or "no threshold"))
    else:
        positive, score, _ = data.known(label)
        above = score >= chosen.threshold
        counts = _confusion(positive, above)
        found = _rates(data, label, above)
    return OperatingPoint(
        rule=chosen.rule,
        threshold=chosen.threshold,
        probability=None if chosen.threshold is None else float(expit(chosen.threshold)),
        reason=chosen.reason,
        chosen_on=(chosen.positives, chosen.negatives),
        true_positives=counts[0],
        false_positives=counts[1],
        true_negatives=counts[2],
        false_negatives=counts[3],
        **found,
    )


def _confusion(positive: BoolArray, above: BoolArray) -> tuple[int, int, int, int]:
    """Count true and false positives, true and false negatives."""
    pairs = ((above, positive), (above, ~positive), (~above, ~positive), (~above, positive))
    true, false, passed, missed = (int((called & truth).sum()) for called, truth in pairs)
    return true, false, passed, missed


def _rates(data: ScoredSet, label: int, above: BoolArray) -> dict[str, Estimate]:
    positive, _, codes = data.known(label)
    unit, missing = data.clusters.unit, why_undefined(*data.counts(label)) or ""
    return {
        "sensitivity": _share(above[positive], codes[positive], ("positive", unit), missing),
        "specificity": _share(~above[~positive], codes[~positive], ("negative", unit), missing),
        "ppv": _share(
            positive[above],
            codes[above],
            ("predicted positive", unit),
            "no row at or above the threshold",
        ),
        "npv": _share(
            ~positive[~above],
            codes[~above],
            ("predicted negative", unit),
            "no row below the threshold",
        ),
        "f1": _f1(data, label, above, missing),
    }


def _share(hits: BoolArray, codes: Codes, which: tuple[str, str], missing: str) -> Estimate:
    """Return the share of rows that are hits, by Wilson's interval with the design effect."""
    rows, successes = len(hits), int(hits.sum())
    if rows == 0:
        return undefined(missing)
    owners, images = np.unique(codes, return_counts=True)
    place = np.searchsorted(owners, codes)
    by_patient = ratio_without(hits.astype(np.float64), np.ones(rows), place, len(owners))
    share = successes / rows
    by_row = math.sqrt(share * (1 - share) * rows) / (rows - 1) if rows > 1 else 0.0
    kish = float((images**2).sum() / images.sum())
    if len(owners) < 2:
        return Estimate(share, None, None, f"no interval: all rows are of one {which[1]}", ())
    effect = design_effect(by_patient.standard_error, by_row, kish)
    degrees = float(len(owners) - 1)
    if effect > 1 and by_patient.standard_error > 0:  # few patients may have most of the rows
        degrees = min(degrees, by_patient.degrees_of_freedom)
    cautions = few(len(owners), *which)
    return wilson_estimate(successes, rows, effect=effect, degrees=degrees, cautions=cautions)


def _f1(data: ScoredSet, label: int, above: BoolArray, missing: str) -> Estimate:
    positive, _, codes = data.known(label)
    if not positive.any():
        return undefined(missing)
    found = ratio_without(
        (2 * (above & positive)).astype(np.float64),
        above.astype(np.float64) + positive,
        codes,
        data.clusters.count,
    )
    owners = data.owners_of(label)
    if found.value == 0:
        return Estimate(0.0, None, None, "no interval: no positive row is found", ())
    if none := owners.why_no_interval():
        return Estimate(found.value, None, None, none, ())
    return share_estimate(found, cautions=owners.caution())
